import html.parser
import json
import re

import pytest
from rich.cells import cell_len

from rollout_local.domain.identity import canonical_json
from rollout_local.reports import promotion, render
from rollout_local.reports.escape import first_line, one_line, visible
from rollout_local.reports.markdown import escaped, fenced

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07 \u202eright-to-left\u202c [bold]markup[/bold] :smile: <script>alert(1)</script> "
    '<img src="https://evil.example/x.png"> ![i](https://evil.example/y) `code` | pipe ``` \r\x08\x9b31m \ud800 '
    "\u2028 \x00 \u200b \U000e0041 " + "wide 漢字 " * 30
)
FORMATS = [
    lambda report: render.as_text(report, 100, False), lambda report: render.as_text(report, 100, True),
    render.as_markdown, render.as_html,
]  # fmt: skip


@pytest.fixture
def hostile(make_run):
    run = make_run(sizes=(2, 2, 4), config={"simulated": True})
    run.scores(0, "holdout", [0.0, 0.0, 1.0, 0.5], output=HOSTILE.replace("\ud800", ""), feedback=HOSTILE[:400])
    run.candidate(1, HOSTILE.replace("\ud800", "") + "\nsecond line")
    run.scores(1, "holdout", [1.0, 0.5, 0.0, 0.5], output="~~~\n```\n" + HOSTILE.replace("\ud800", ""), feedback="")
    run.best(1)
    report = promotion.build(run.store, run.row)
    report["improved"][0]["best"]["output"] = HOSTILE
    report["target"]["id"] = "<b>t</b>\x1b[0m"
    return report


@pytest.fixture
def report(improved):
    return promotion.build(improved.store, improved.row)


def without_style(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_text_begins_with_the_verdict_and_the_luck(report):
    lines = render.as_text(report, 100, False).split("\n")
    assert lines[0] == "Promotion report: support-agent (prompt)"
    assert lines[1].startswith("Promote candidate 1: it lifts the holdout mean by +0.500")
    assert lines[2].startswith("The lift is unlikely to be luck")


@pytest.mark.parametrize("render_it", FORMATS)
def test_every_format_tells_the_whole_story(report, render_it):
    text = without_style(render_it(report)).replace("\\", "").replace("&lt;", "<")
    text = " ".join(text.split())
    for said in (
        "0.375 ± 0.327 (8)", "0.875 ± 0.189 (8)", "+0.500 (8 tasks)", "7 won, 1 lost, 0 tied", "p = 0.070",
        "+Name the policy in one sentence.", "Improved on the holdout: 7 tasks", "Regressed on the holdout: 1 task",
        "holdout-7", "expected more of holdout-0", "tone", "60 asked, 7 spent", "evaluating best", "$0.0480", "150 ms",
        "20 characters before, 53 after", "nothing of eight words or more was copied", "met",
    ):  # fmt: skip
        assert said in text


@pytest.mark.parametrize("render_it", FORMATS)
def test_every_format_says_that_the_models_were_simulated(report, render_it):
    assert "SIMULATED" not in render_it(report)
    assert "SIMULATED: the models in this run were a scripted simulator" in without_style(
        render_it({**report, "simulated": True})
    ).replace("\n", " ")


@pytest.mark.parametrize("render_it", FORMATS)
def test_hostile_text_is_shown_and_never_acts(hostile, render_it):
    text = without_style(render_it(hostile))
    assert not set(text) & set("\x1b\x07\x08\x9b\x00\r\u202e\u202c\u2028\u200b\U000e0041\ud800")
    assert "\\x1b[2J" in text.replace("\\\\", "\\").replace("\\[", "[")
    text.encode()


@pytest.mark.parametrize("width", [40, 72, 100, 200])
def test_no_line_of_the_text_is_wider_than_asked_nor_than_a_hundred_columns(hostile, width):
    assert max(cell_len(line) for line in render.as_text(hostile, width, False).split("\n")) <= min(width, 100)


def test_markup_and_emoji_codes_of_others_are_not_read(hostile):
    text = render.as_text(hostile, 100, False)
    assert "[bold]markup[/bold] :smile:" in text


def test_color_is_an_argument_and_the_environment_is_not_asked(report, monkeypatch):
    plain = render.as_text(report, 100, False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    assert render.as_text(report, 100, False) == plain
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setenv("NO_COLOR", "1")
    colored = render.as_text(report, 100, True)
    assert "\x1b[" in colored
    assert without_style(colored).split() == plain.split()


def test_the_page_is_well_formed_has_no_script_and_fetches_nothing(hostile):
    text = render.as_html(hostile)
    page = Page(text)
    assert page.open == []
    assert not {"script", "img", "link", "iframe", "object", "a", "form"} & set(page.tags)
    assert not {"src", "href", "style"} & {name for name, _ in page.attributes}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "url(" not in text
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_markdown_escapes_what_it_would_read_and_fences_outputs(hostile):
    text = render.as_markdown(hostile)
    outside = re.sub(r"^(`{3,})[^`\n]*\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "<" not in outside
    assert not re.search(r"(?<!\\)\[", outside)
    assert not re.search(r"https?:/", outside)
    rows = [line for line in outside.split("\n") if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) in (4, 5) for row in rows)


def test_a_fence_is_longer_than_any_in_the_text():
    assert fenced("a ```` b").split("\n") == ["`````", "a ```` b", "`````"]
    assert escaped("a\\<b> & www.x.y *") == "a\\\\&lt;b&gt; &amp; www&#46;x.y \\*"


def test_a_report_read_back_from_json_looks_the_same(report):
    back = json.loads(canonical_json(report))
    assert render.as_text(back, 100, False) == render.as_text(report, 100, False)


def test_the_baseline_that_stays_best_is_told_shortly(make_run):
    run = make_run()
    run.scores(0, "holdout", [0.5, 1.0])
    text = render.as_text(promotion.build(run.store, run.row))
    assert "Do not promote: no text did better than the baseline" in text
    assert "best (the baseline)" in text
    assert "Unchanged, 20 characters." in text
    assert "Improved" not in text
    assert "NOT MET" in text
    assert "Cost unknown in all" in text


def test_degraded_copied_and_stopped_runs_say_so(make_run):
    long = "one two three four five six seven eight nine"
    run = make_run(sizes=(2, 1, 3))
    run.scores(0, "holdout", [0.5, None])
    run.candidate(1, long)
    run.scores(1, "holdout", [1.0])
    run.best(1)
    report = promotion.build(run.store, run.row) | {"stop_reason": "budget_spent"}
    report["overlap"] |= {"copied_fraction": 1.0, "longest_ngram": 9, "examples": [{"task": "train-0", "text": long}]}
    text = render.as_text(report).replace("\n", " ")
    assert "completed, budget spent." in text
    assert "trials without a score, 1 on holdout (1 provider error)" in text
    assert "100 % of its words stand in copied runs" in text
    assert f"train-0: {long}" in text
    assert "What lift 1 task could show reliably cannot be told" in text


def test_a_report_without_volatile_parts_can_be_drawn(report):
    report.pop("volatile")
    assert "Cost" not in render.as_text(report)


def test_long_lists_of_tasks_are_cut_in_the_text_only(make_run):
    run = make_run(sizes=(1, 1, 20))
    run.scores(0, "holdout", [0.0] * 20)
    run.candidate(1, "Better.")
    run.scores(1, "holdout", [1.0] * 19 + [0.0])
    run.best(1)
    report = promotion.build(run.store, run.row)
    text = render.as_text(report)
    assert "… and 7 more" in text
    assert text.count("now: fine") == 12
    assert render.as_html(report).count("<details>") == 19


def test_several_components_are_each_shown_with_their_name(make_run):
    run = make_run(texts={"plan": "Plan.", "answer": "Answer."})
    run.candidate(1, {"plan": "Plan well.", "answer": "Answer."})
    run.best(1)
    text = render.as_text(promotion.build(run.store, run.row))
    assert "--- baseline plan\n+++ candidate 1 plan" in text
    assert "baseline answer" not in text


def test_visible_keeps_what_is_read_and_spells_what_acts():
    assert visible("plain\n\ttext") == "plain\n\ttext"
    assert visible("naïve 漢字 👩‍💻") == "naïve 漢字 👩‍💻"
    assert visible("\x1b\x9f\u2066\U000e0001\ud83d") == "\\x1b\\x9f\\u2066\\U000e0001\\ud83d"
    assert one_line(" a\n\tb  c ") == "a b c"
    assert one_line("abcdef", 4) == "abc…"
    assert first_line("\n \n first\nsecond") == "first"
    assert first_line("") == ""


def test_of_several_lines_of_feedback_the_one_that_tells_the_sides_apart_is_shown(report):
    case = report["improved"][0]
    case["baseline"]["feedback"], case["best"]["feedback"] = "short: too long\nlabel: wrong", "short: too long"
    shown = render.as_text(report, 100, False)
    assert "was: label: wrong" in shown
    assert "now: short: too long" in shown
    case["best"]["feedback"] = ""
    assert "was: short: too long" in render.as_text(report, 100, False)
