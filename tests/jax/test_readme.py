"""The README's examples for JAX run."""

import doctest

import jax

from tests.test_readme import blocks


def test_the_examples_run():
    (session,) = (block for block in blocks("pycon") if "import jax" in block)
    test = doctest.DocTestParser().get_doctest(session, {}, "README.md", "README.md", 0)
    complaints: list[str] = []
    with jax.enable_x64(False):
        failed, attempted = doctest.DocTestRunner().run(test, out=complaints.append)
    assert attempted > 3
    assert not failed, "".join(complaints)
