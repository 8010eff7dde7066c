# Sourced by the other scripts: `ensure_venv [EXTRA]` makes .venv where it is absent or out of date, else returns at once.

find_python() {
    local name
    for name in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
        if "$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "Python 3.11 or newer (with its venv module) is needed; set PYTHON to where it is." >&2
    return 1
}

# What the environment was made from: a change of any of it makes it anew.
venv_stamp() {
    cat "$ROOT/pyproject.toml" "$ROOT/constraints.txt" | sha256sum | cut -c1-64
}

# The stamp's first word is the digest, the others are the extras that are in.
venv_is_current() {
    local stamp="$ROOT/.venv/thespis-stamp"
    [ -x "$ROOT/.venv/bin/python" ] && [ -f "$stamp" ] || return 1
    local found extra=" ${1:-base} "
    found=" $(cat "$stamp") "
    [[ "$found" == " $(venv_stamp) "* && "$found" == *"$extra"* ]] && "$ROOT/.venv/bin/python" -c pass 2>/dev/null
}

GPU_DEVICES='/dev/nvidia[0-9]*'

# What the index would give for torch, as pip reports it; nothing is downloaded but the package's description.
torch_report() {
    "$ROOT/.venv/bin/python" -m pip install --dry-run --ignore-installed --no-deps --quiet --disable-pip-version-check \
        --report - -c "$ROOT/constraints.txt" torch 2>/dev/null
}

# Many indexes give every Linux a torch that brings CUDA along. Where there is no GPU it says what that costs before it is paid,
# and goes on: a script that asks would hang where nobody answers.
warn_of_cuda() {
    if compgen -G "$GPU_DEVICES" >/dev/null || ! torch_report | grep -Eq '"(nvidia|cuda)-[a-z]'; then
        return 0
    fi
    cat >&2 <<'EOF'
This machine shows no NVIDIA GPU, but the package index gives a torch that brings CUDA along: about 3 GB to download and 7 GB of
disk, where a build for CPUs takes 0.2 and 1 GB. Both work. For the small one press Ctrl-C now, and start again with an index that
has CPU builds (torch's page on installing names one):  PIP_EXTRA_INDEX_URL=INDEX ./scripts/run
EOF
}

ensure_venv() {
    local extra="${1:-}"
    venv_is_current "$extra" && return
    exec 9<"$ROOT/scripts/_venv.sh"
    flock 9 # two scripts at once make one environment
    if ! venv_is_current "$extra"; then
        if ! "$ROOT/.venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "Making .venv ..." >&2
            local python
            python="$(find_python)"
            "$python" -m venv --clear "$ROOT/.venv"
        fi
        echo "Installing into .venv (once; some minutes on a fresh machine) ..." >&2
        "$ROOT/.venv/bin/python" -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("torch"))' || warn_of_cuda
        # With an extra come packages of many thousand modules of which few are ever imported: those are compiled then.
        if ! (cd "$ROOT" && .venv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary pypdfium2 ${extra:+--no-compile} -c constraints.txt -e ".${extra:+[$extra]}"); then
            cat >&2 <<'EOF'
Installing failed; pip says above why. It takes a package index that can be reached from here (PIP_INDEX_URL=INDEX names another) and
2 GB of disk, 8 with CUDA. The same command begins again.
EOF
            return 1
        fi
        echo "$(venv_stamp) base $extra" >"$ROOT/.venv/thespis-stamp"
    fi
    exec 9<&-
}
