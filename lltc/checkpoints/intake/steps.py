"""Training steps: read from the names people give checkpoints, and spaced for saving new ones."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from lltc.errors import InputError

_FLAGS = re.IGNORECASE | re.ASCII
_SUFFIX = re.compile(r"\.(npz|safetensors|msgpack|eqx|pt|pth|bin|ckpt)$", _FLAGS)
_SHARD = re.compile(r"-\d{5}-of-\d{5}$", _FLAGS)
# A number is over where neither a letter, a digit, another decimal nor a power follows.
_PLAIN = (
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,3}(?:_[0-9]{3}){2,}|[0-9]+)"
    r"(?P<part>\.[0-9]+)?(?:e(?P<power>[-+]?[0-9]{1,2}))?(?P<unit>[kmbt])?"
)
_OVER = r"(?![a-z0-9]|[.,][0-9]|\^|\*\*)"
_NUMBER = re.compile(_PLAIN + _OVER, _FLAGS)


class _Word(NamedTuple):
    """What a step is called: numbers behind the word, numbers ahead of it, and the units they may have."""

    behind: re.Pattern[str]
    ahead: re.Pattern[str] | None
    units: str


def _word(words: str, units: str, *, ahead: str = "") -> _Word:
    behind = re.compile(rf"(?:{words})(?P<gap>[^a-z0-9]{{0,2}})(?=[0-9])", _FLAGS)
    pattern = rf"(?<![a-z0-9])(?<![0-9][.,])(?<![0-9]_)(?<![0-9]e[-+]){_PLAIN}[-_ ]?(?:{ahead})(?![a-z=:])"
    return _Word(behind, re.compile(pattern, _FLAGS) if ahead else None, units)


# Most telling first: 'epoch=3-step=1200' is step 1200, 'ckpt-1000-loss=0.52' is step 1000. Behind the word
# checkpoint 7B is the size of a model.
_WORDS = (
    _word("steps?|iters?|iterations?|updates?", "kmbt", ahead="steps|iters|iterations|updates"),
    _word("(?<![a-z0-9])ba(?=[0-9])", ""),
    _word("checkpoints?|ckpts?|chkpts?", "km"),
    _word("epochs?", "km", ahead="epochs"),
    _word("tokens?", "kmbt", ahead="tokens"),
)
_SECOND = re.compile(r"[-_][0-9]+(?![0-9a-z]|[.,][0-9])", _FLAGS)
_UNITS = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
# 1_000 may be one number or two, and so may 1_5M.
_HALF_GROUP = re.compile("[_ '’\u00a0\u2009\u202f](?:[0-9]{3}(?![0-9])|[0-9]{1,2}[kmbt](?![a-z0-9]))", _FLAGS)
_MAX_STEP = (1 << 63) - 1
_YEAR, _MONTH, _DAY = "(?:19|20)[0-9]{2}", "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_MONTHS = (
    "(?<![a-z])(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    "sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)(?![a-z])"
)
_DAY_OF = "(?:0?[1-9]|[12][0-9]|3[01])(?![0-9])"
_TIME = r"(?:[-_T ]?(?:[01][0-9]|2[0-3])[-_:.h]?[0-5][0-9](?:[-_:.m]?[0-5][0-9])?)?(?![0-9])"
# Dates with the time of day, and UUIDs, are full of numbers that are no steps.
_DATE = re.compile(
    rf"(?<![0-9])(?:{_YEAR}[-_.]{_MONTH}[-_.]{_DAY}|{_DAY}[-_.]{_MONTH}[-_.]{_YEAR}"
    rf"|{_MONTH}[-_.]{_DAY}[-_.]{_YEAR}){_TIME}"
    rf"|(?<![0-9])(?:{_YEAR}[-_. ]?)?(?:{_DAY_OF}[-_. ]?)?{_MONTHS}"
    rf"(?:[-_. ]?{_DAY_OF})?(?:[-_., ]*{_YEAR})?(?![0-9])"
    r"|(?<![0-9])(?:[01][0-9]|2[0-3])[-:][0-5][0-9][-:][0-5][0-9](?![0-9])"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    _FLAGS,
)
_COMPACT_MOMENT = re.compile(
    rf"(?<![0-9]){_YEAR}{_MONTH}{_DAY}[-_T](?:[01][0-9]|2[0-3])[0-5][0-9](?:[0-5][0-9])?(?![0-9])", _FLAGS
)
_COMPACT_DATE = re.compile(rf"(?<![0-9]){_YEAR}{_MONTH}{_DAY}{_TIME}", _FLAGS)
_BARE = re.compile(
    r"(?P<word>[a-z]*)(?P<gap>[^a-z0-9]*)(?<![0-9])(?<![0-9][.,])(?<![0-9]e[-+])"
    r"(?P<digits>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)" + _OVER,
    _FLAGS,
)
_GLUED = re.compile(
    "(?:models?|weights?|params?|net|network|state|snapshot|snap|saved?|policy|agent|actor|critic|run|ep|itr?)",
    _FLAGS,
)
# What a number behind one of these counts is no training step.
_OTHER = re.compile(
    "rank|seed|shard|part|fold|chunk|split|layers?|heads?|experts?|lr|loss|acc|accuracy|val|v|ver|version|rev|"
    "dim|width|depth|size|bs|gpus?|devices?|nodes?|workers?|jobs?|proc|process|host|[tpmd]p|wd|alpha|beta|gamma|"
    "eps|epsilon|temp|temperature|dropout|of|top|stage|phase|trial|exp|experiment|ppl|perplexity|bleu|reward|"
    "score|metric|err|error|auc|iou|map|psnr|wer|mse|mae",
    _FLAGS,
)


def parse_step(name: str) -> int | None:
    """Return the training step a file or folder name carries, or None where it carries none.

    The number behind the word step (or iter, update), or ahead of steps, else behind ba (batches, as in
    ep3-ba1200), else checkpoint or ckpt, else epoch, else tokens, else the last whole number of the name that
    is no date, version, rank, seed, score or part of a hash. Named numbers may be written 10k, 1.5M, 4B,
    2.5e4 or 10,000. Where a name can be read in two ways, as step_1_000 or step_1_iter_2 can, or its number
    is no whole one, there is no step.

    Example:
        >>> parse_step("epoch=3-step=1200"), parse_step("model.step1000.safetensors"), parse_step("best")
        (1200, 1000, None)
        >>> parse_step("step_1.5k"), parse_step("step_1_000"), parse_step("model-v1.2")
        (1500, None, None)
    """
    stem = _stem(name)
    if readings := _readings(stem):
        return readings.pop() if len(readings) == 1 else None
    if (match := _NUMBER.fullmatch(stem)) and not _COMPACT_DATE.fullmatch(stem):
        return _as_step(match, "km")
    return _last_number(_COMPACT_DATE.sub(" ", stem))


def is_unreadable(name: str) -> bool:
    """Tell whether a name speaks of a step that cannot be told, as step_1_000 does.

    Example:
        >>> is_unreadable("step_1_000.pt"), is_unreadable("step_1.pt"), is_unreadable("vocabulary.pt")
        (True, False, False)
    """
    return parse_step(name) is None and bool(_readings(_stem(name)))


def _stem(name: str) -> str:
    return _COMPACT_MOMENT.sub(" ", _DATE.sub(" ", _SHARD.sub("", _SUFFIX.sub("", name))))


def _readings(stem: str) -> set[int | None]:
    """Return what the most telling word in a name may mean by its number, nothing where none has one."""
    return next((readings for word in _WORDS if (readings := set(_named_steps(word, stem)))), set())


def _named_steps(word: _Word, stem: str) -> Iterator[int | None]:
    """Yield the step that each number behind and ahead of `word` stands for, None where it is none."""
    for match in word.behind.finditer(stem):
        # A minus ahead of the number, behind another sign, makes it negative, a point a part of one.
        odd = len(match["gap"]) == 2 and match["gap"][1] in "-+."
        number = _NUMBER.match(stem, match.end())
        # Of checkpoint_3_15000 either number may be the step.
        odd = odd or (number is not None and _SECOND.match(stem, number.end()) is not None)
        yield None if odd else _as_step(number, word.units)
    for match in word.ahead.finditer(stem) if word.ahead else ():
        # In epoch_2_steps_300 the first number has a word of its own.
        claimed = any(other.end() == match.start() for each in _WORDS for other in each.behind.finditer(stem))
        claimed = claimed or _is_of_another_word(stem, match.start())
        if not claimed:
            yield _as_step(match, word.units)


def _is_of_another_word(stem: str, start: int) -> bool:
    """Tell whether a number belongs to the word ahead of it, as in seed_1_steps_1000."""
    ahead = re.search(r"([a-z]+)[-_= ]?$", stem[:start], _FLAGS)
    return ahead is not None and _OTHER.fullmatch(ahead[1]) is not None


def _as_step(match: re.Match[str] | None, units: str) -> int | None:
    """Return the number matched where it is a whole one that can be read in one way only."""
    if match is None or (unit := (match["unit"] or "").lower()) not in ("", *units):
        return None
    scaled = unit or match["power"]
    if (match["part"] and not scaled) or (not scaled and _is_half_group(match)):
        return None
    whole = re.sub("[,_]", "", match["whole"])
    number = Fraction(f"{whole}{match['part'] or ''}e{match['power'] or 0}") * _UNITS.get(unit, 1)
    return int(number) if number.denominator == 1 and number <= _MAX_STEP else None


def _is_half_group(match: re.Match[str]) -> bool:
    return len(match["whole"]) <= 3 and _HALF_GROUP.match(match.string, match.end()) is not None


def _last_number(stem: str) -> int | None:
    candidates = [match for match in _BARE.finditer(stem) if _is_step_like(match)]
    if not candidates:
        return None
    last = candidates[-1]
    before = stem[: last.start("digits")]
    if len(last["digits"]) == 3 and re.search(
        r"(?<![0-9a-z])(?<![0-9][.,])(?<![0-9]e[-+])[0-9]{1,3}_$", before, _FLAGS
    ):
        return None
    step = int(last["digits"].replace(",", ""))
    return step if step <= _MAX_STEP else None


def _is_step_like(match: re.Match[str]) -> bool:
    word, gap, is_glued = match["word"], match["gap"], not match["gap"]
    # A minus behind another sign, or ahead of all, makes the number negative.
    if re.search(r"[-_= ]-$|\^$|\*\*$", gap) or (gap == "-" and match.start("gap") == 0):
        return False
    if is_glued and word:
        return _GLUED.fullmatch(word) is not None
    return _OTHER.fullmatch(word) is None


def log_spaced_steps(num_steps: int, num_checkpoints: int) -> tuple[int, ...]:
    """Return `num_checkpoints` increasing steps from 0 to `num_steps`, evenly spaced in log(step).

    Where the even spacing falls below one step it is rounded up to one, and what is left of the range
    is divided anew, so the count is exact and both ends are kept. One checkpoint is the last step alone.

    Raises:
        InputError: `num_checkpoints` is below 1 or above `num_steps + 1`.

    Example:
        >>> log_spaced_steps(1000, 6)
        (0, 1, 6, 33, 182, 1000)
    """
    if not 1 <= num_checkpoints <= num_steps + 1:
        raise InputError(
            f"num_checkpoints is {num_checkpoints}, but {num_steps} steps have room for 1 to {num_steps + 1} "
            "checkpoints; lower num_checkpoints or train for more steps."
        )
    if num_checkpoints == 1:
        return (num_steps,)
    steps = [0]
    for left in range(num_checkpoints - 1, 0, -1):
        steps.append(_next_step(steps[-1], num_steps, left))
    return tuple(steps)


def _next_step(last: int, num_steps: int, left: int) -> int:
    if left == 1:
        return num_steps
    if last == 0:
        return 1
    even = round(last * (num_steps / last) ** (1 / left))
    return min(max(even, last + 1), num_steps - left + 1)
