"""The digest of a policy's content against that of the command sha256sum, and what changes it."""

from trustseg.deferral.policy_files import digest_of, sealed


def test_the_digest_is_that_of_sorted_compact_json() -> None:
    content = {"threshold": 0.25, "model": "a"}  # printf '{"model":"a","threshold":0.25}' | sha256sum
    expected = "1accec2d7bd4aba6b6932105cc998c632b2fffbb9daf9c2264ebad1bb245dd46"
    assert digest_of(content) == digest_of(dict(reversed(content.items()))) == expected
    assert sealed(sealed(content)) == {**content, "digest": expected}
    assert digest_of(content | {"threshold": 0.2500001}) != expected
