"""The page of tokens: five thousand in a real browser, looked at, hovered, filtered and searched."""

import json
import re

import numpy as np
import pytest

from lltc import InputError
from lltc.report import TokenPage, write_token_page
from tests.browsing import Browser

HOSTILE = "</script><img src=x onerror=\"document.title='run'\">${title}&amp;"
WORDS = ("the ", "cat ", "sat\n", "on ", "a mat. ", "Then ", "it ", "slept ")


def make_page(examples: int = 50, length: int = 100, **changed) -> TokenPage:
    """Return a page of tokens in three clusters and some in none; one text and one name are hostile."""
    rng = np.random.default_rng(0)
    example, position = np.divmod(np.arange(examples * length), length)
    label = np.where(rng.random(len(example)) < 0.3, rng.integers(3, size=len(example)), -1)
    texts = [[WORDS[at] for at in rng.integers(len(WORDS), size=length + 3)] for _ in range(examples)]
    texts[0][4] = HOSTILE
    name = lambda at: f"layers/{at}/attn" if at else HOSTILE
    sizes = np.bincount(label[label >= 0])
    clusters = [(int(size), 0.9, [(name(at), "0.031 ± 0.002")]) for at, size in enumerate(sizes)]
    notes = [[(name(at), "−0.012 ± 0.003") for at in range(3)]] * len(example)
    loss = rng.gamma(2.0, size=len(example))
    given = {"title": HOSTILE, "example": example, "position": position, "loss": loss, "label": label}
    return TokenPage(**(given | {"clusters": clusters, "notes": notes, "texts": texts} | changed))


def payload(path) -> dict:
    text = path.read_text()
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])  # pyright: ignore


def test_every_text_is_there_and_none_ends_its_script(tmp_path):
    path = write_token_page(tmp_path / "tokens.html", make_page())
    text = path.read_text()
    assert text.count("</script>") == 2
    assert "<img" not in text
    assert payload(path)["examples"][0]["pieces"][4] == [HOSTILE, 4]
    assert payload(path)["examples"][0]["pieces"][-1][1] is None


def test_without_texts_tokens_are_named_by_position(tmp_path):
    path = write_token_page(tmp_path / "tokens.html", make_page(texts=None))
    assert payload(path)["examples"][1]["pieces"][2] == ["2 ", 102]


def test_a_long_page_is_cut_and_says_so(tmp_path):
    page = make_page(examples=300, caveat="few_draws")
    text = write_token_page(tmp_path / "tokens.html", page).read_text()
    told = "20,000 tokens of 200 examples in 3 clusters, the first of 30,000; the status of the chains is few"
    assert told in text
    assert re.search(rf">none<.*?>{np.sum(page.label < 0):,}<", text)


@pytest.mark.parametrize("texts", [[["a"]], [["a"] * 50] * 50])
def test_texts_that_do_not_reach_the_tokens_are_refused(tmp_path, texts):
    with pytest.raises(InputError, match="pass the text of every token, by example"):
        write_token_page(tmp_path / "tokens.html", make_page(texts=texts))


@pytest.mark.browser
@pytest.mark.parametrize("screen", [{}, {"dark": True}, {"width": 390, "height": 844}])
def test_five_thousand_tokens_in_a_browser(tmp_path, screen):
    page = make_page()
    path = write_token_page(tmp_path / "tokens.html", page)
    with Browser(tmp_path) as browser:
        assert browser.open(path, **screen) < 10
        assert browser.run("document.querySelectorAll('.token').length") == 5000
        assert browser.run("document.getElementById('count').textContent") == "5,000 tokens"
        assert browser.run("document.title") == HOSTILE
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        row = "document.querySelectorAll('#clusters tbody tr')[1]"
        browser.run(f"{row}.click()")
        count = int(np.sum(page.label == 1))
        assert browser.run("document.getElementById('count').textContent") == f"{count:,} tokens"
        assert browser.run("document.querySelectorAll('.token:not(.quiet)').length") == count
        browser.run(f"{row}.click()")
        search = "const box = document.getElementById('search'); box.value = 'CAT';"
        browser.run(f"(() => {{ {search} box.dispatchEvent(new Event('input')); }})()")
        cats = sum("cat" in page.texts[e][p] for e, p in zip(page.example, page.position, strict=True))  # pyright: ignore
        assert browser.run("document.querySelectorAll('.hit').length") == cats
        place = browser.run(
            "(() => { const box = document.querySelector('.hit').getBoundingClientRect();"
            " return [box.left + box.width / 2, box.top + box.height / 2]; })()"
        )
        browser.move(*place)
        tip = browser.run("document.getElementById('tip').innerText")
        assert tip.startswith("cat ")
        assert "χ layers/1/attn" in tip
        assert not browser.run("document.getElementById('tip').hidden")
        tip = "document.getElementById('tip')"
        assert browser.run(f"{tip}.scrollWidth <= {tip}.clientWidth")
        browser.picture(tmp_path / "tokens.png", whole=False)
        assert browser.seen == []
