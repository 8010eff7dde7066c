import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.actors.fetcher.policy import (
    FORBIDDEN_URL,
    INVALID_URL,
    FetchError,
    Policy,
    is_public,
    normal_host,
)

CLOSED = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
closed_v4 = (
    st.sampled_from(CLOSED)
    .flatmap(lambda net: st.ip_addresses(network=net))
    .map(ipaddress.IPv4Address)
)


def refusal(url: str, policy: Policy | None = None, **named: bool) -> FetchError:
    with pytest.raises(FetchError) as caught:
        (policy or Policy()).check(url, **named)
    return caught.value


def refused(url: str, policy: Policy | None = None, **named: bool) -> str:
    return refusal(url, policy, **named).text


@settings(deadline=None)
@given(closed_v4)
def test_S2_closed_addresses_are_refused_in_every_form(ip: ipaddress.IPv4Address) -> None:
    number = int(ip)
    forms = [
        str(ip),
        f"::ffff:{ip}",
        f"::{ip}",
        f"64:ff9b::{ip}",
        str(ipaddress.IPv6Address((0x2002 << 112) | (number << 80))),
        str(ipaddress.IPv6Address((0x64FF9B0001 << 88) | number)),
    ]
    assert not any(is_public(form) for form in forms)
    for form in forms:
        assert "public" in refused(f"http://{f'[{form}]' if ':' in form else form}/x")


@settings(deadline=None)
@given(
    st.ip_addresses(v=4),
    st.ip_addresses(network="2000::/3"),
    st.sampled_from((0x00005EFE, 0x02005EFE)),
)
def test_S2_an_ISATAP_address_is_refused_below_every_prefix(
    inner: ipaddress.IPv4Address, prefix: ipaddress.IPv6Address, marker: int
) -> None:
    """Whatever it hides: a host that speaks ISATAP sends what is for it to the IPv4 address."""
    hiding = ipaddress.IPv6Address((int(prefix) >> 64 << 64) | marker << 32 | int(inner))
    assert not is_public(str(hiding))
    assert "public" in refused(f"http://[{hiding}]/x")
    assert "public" in refused(f"http://[{hiding.exploded}]/x")


@pytest.mark.parametrize(
    "address",
    [
        "2600::5efe:127.0.0.1", "2600::200:5efe:10.0.0.1", "2002:7f00:1::", "2002:a00:1::1",
        "2001:0:53aa:64c::f5ff:fffe",
        "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "64:ff9b:1:a00:0:100::", "::127.0.0.1",
        "::ffff:0:127.0.0.1", "100::1",
        "2001:2::1", "2001:10::1", "fec0::7f00:1", "2600::1%eth0", "2600::1%1",
        "0:0:0:0:0:ffff:7f00:1",
    ],
)  # fmt: skip
def test_S2_forms_that_hide_an_address_are_no_public_address(address: str) -> None:
    assert not is_public(address)
    refused(f"http://[{address}]/x")


@pytest.mark.parametrize(
    "host",
    [
        "127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "①②⑦.0.0.1",
        "127%2e0%2e0%2e1", "%31%32%37.0.0.1",
        "0x7f.0.0.1",
        "0177.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "127.0.0.1..",
        "[127.0.0.1]", "[v1.fe80::1]",
        "127.0.0.1%00.example", "127.0.0.1\u00ad", "1\u200b27.0.0.1", "[::1].example",
        "0x.0x.0x.0x1", "127.0.0.09",
        "[::1%25lo]",
    ],
)  # fmt: skip
def test_S2_spellings_that_two_readers_may_take_for_different_hosts_are_refused(host: str) -> None:
    assert refusal(f"http://{host}/x").code in (FORBIDDEN_URL, INVALID_URL)


@settings(deadline=None)
@given(closed_v4)
def test_S2_odd_spellings_of_an_address_are_refused(ip: ipaddress.IPv4Address) -> None:
    a, b, c, d = ip.packed
    for host in (
        str(int(ip)), hex(int(ip)), f"0{a:o}.{b}.{c}.{d}", f"{a}.{b}.{c * 256 + d}",
        f"0x{a:x}.{b}.{c}.{d}",
        f"{a}.{b}.{c}.{d}.", f"{a}.{b * 65536 + c * 256 + d}", f"00{a}.{b}.{c}.{d}",
    ):  # fmt: skip
        refused(f"http://{host}/x")


@pytest.mark.parametrize(
    ("url", "policy", "code"),
    [
        ("http://127.0.0.1/", Policy(), FORBIDDEN_URL),
        ("http://[::1]/", Policy(), FORBIDDEN_URL),
        ("http://2130706433/", Policy(), FORBIDDEN_URL),
        ("http://evil.example/", Policy(("good.example",)), FORBIDDEN_URL),
        ("http://user@good.example/", Policy(), FORBIDDEN_URL),
        ("http://a..b/", Policy(), INVALID_URL),
        ("http://good.example:99999/", Policy(), INVALID_URL),
        ("ftp://good.example/", Policy(), INVALID_URL),
        ("http://good.example/ x", Policy(), INVALID_URL),
    ],
)
def test_what_the_operator_forbids_has_a_code_of_its_own(
    url: str, policy: Policy, code: str
) -> None:
    found = refusal(url, policy)
    assert (found.kind, found.code) == ("invalid_request", code)


def test_S2_full_width_digits_are_digits() -> None:
    assert "public" in refused("http://１２７.０.０.１/")


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1"])
def test_S2_public_addresses_are_allowed(address: str) -> None:
    assert is_public(address)
    assert (
        Policy().check(f"https://{f'[{address}]' if ':' in address else address}/x").host == address
    )


@pytest.mark.parametrize(
    "address",
    [
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "2001::1",
        "2001:db8::1",
        "5f00::1",
        "3fff::1",
        "x",
    ],
)
def test_S2_what_is_not_public(address: str) -> None:
    assert not is_public(address)


def test_S2_allow_private_opens_them() -> None:
    assert Policy(allow_private=True).check("http://127.0.0.1:8000/x").port == 8000
    assert Policy(allow_private=True).check("http://[::1]:8000/x").host == "::1"


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "EXAMPLE.com",
        "example.com.",
        "BÜCHER.example",
        "xn--bcher-kva.example",
        "bücher.example.",
    ],
)
def test_S1_hosts_are_compared_normalised(host: str) -> None:
    policy = Policy(("Example.COM.", "bücher.example"))
    assert policy.check(f"https://{host}/x").raw_host in ("example.com", "xn--bcher-kva.example")


@pytest.mark.parametrize(
    "host", ["evil.com", "sub.example.com", "example.com.evil.com", "xexample.com", "example.co"]
)
def test_S1_other_hosts_are_refused_by_name(host: str) -> None:
    text = refused(f"https://{host}/x", Policy(("example.com", "other.org")))
    assert host in text
    assert "example.com, other.org" in text


def test_S1_an_allowlist_does_not_open_private_addresses() -> None:
    assert "public" in refused("http://10.0.0.1/", Policy(("10.0.0.1",)))


def test_S1_of_a_redirects_target_nothing_is_told() -> None:
    assert "secret" not in refused("http://secret.internal/", Policy(("example.com",)), hop=True)


def test_S4_a_redirect_away_from_http_is_told_as_one() -> None:
    """Data: and file: are for callers, and were offered to a server that redirects."""
    assert refused("file:///x", hop=True) == "The URL redirects to what is neither http nor https."


@pytest.mark.parametrize(
    "url",
    ["ftp://x/y", "gopher://x", "javascript:1", "//x/y", "x", "", "data:image/png;base64,aaaa"],
)
def test_S4_other_schemes_name_the_three_kinds(url: str) -> None:
    text = refused(url)
    assert all(kind in text for kind in ("http", "data:", "file:"))


@pytest.mark.parametrize(
    "url",
    [
        "http://user:pw@example.com/", "http://allowed.com\\@evil.com/", "http://ex ample.com/",
        "http://example.com/\r\nX: "
        "y",
        "http:///x", "http://example.com:99999/", "http://example.com:0/", "http://[::1",
        "http://a..b/", "http://.../",
        "http://[fe80::1%25eth0]/", "http://example.com/" + "a" * 20000,
    ],
)  # fmt: skip
def test_urls_that_two_parsers_may_read_differently_are_refused(url: str) -> None:
    refused(url)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_refused_or_has_a_checked_host(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}/x", f"http://a@{text}"):
        try:
            checked = Policy(("a",)).check(url)
        except FetchError:
            continue
        assert checked.raw_host == "a"


@settings(deadline=None)
@given(st.from_regex(r"[a-zA-Z0-9.-]{1,20}", fullmatch=True))
def test_normalising_twice_changes_nothing(host: str) -> None:
    try:
        once = normal_host(host)
    except FetchError:
        return
    assert normal_host(once) == once == once.lower()


@pytest.mark.parametrize(
    "domain", ["https://example.com", "*.example.com:80", "", "a..b", "example.com:443"]
)
def test_S1_an_allowed_domain_that_is_no_host_name_is_refused_at_the_start(domain: str) -> None:
    with pytest.raises(ValueError, match="no host name"):
        Policy([domain])
