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
        (cd "$ROOT" && .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".${extra:+[$extra]}")
        echo "$(venv_stamp) base $extra" >"$ROOT/.venv/thespis-stamp"
    fi
    exec 9<&-
}
