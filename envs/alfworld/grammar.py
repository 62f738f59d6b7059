r"""What a game says: the command templates and replies in its grammar, read from the file and written to it.

A grammar is a text of the form

    grammar :: \"\"\"{"rule": [{"condition": "...", "rhs": "..."}, ...], ...}\"\"\";
    action Name { template :: "take {o} from {r}"; feedback :: "#rule#"; grammar :: \"\"\"{...}\"\"\"; }

The wording is the game's own; the structure (which rules there are, on which conditions, about what) must be the one
in `RULES`, because the state machine decides by itself which rule applies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from palaestra.envs.core.errors import TaskError

_INSIDE: Final = "[{o.indefinite + ' ' + o.name | inreceptacle(o:object, r:receptacle)}]"
_HELD: Final = "[{o.indefinite + ' ' + o.name | holds(a:agent, o:object)}]"
_CONTAINED: Final = "[{o2.indefinite + ' ' + o2.name | inreceptacleobject(o2:object, o:object)}]"
_AT_FEET: Final = "atlocation(a:agent, l:location) & receptacleatlocation(r:receptacle, l:location)"
_FACING: Final = "[{r.name | " + _AT_FEET + "}]"
_ON_FLOOR: Final = (
    "atlocation(a:agent, l:location) & objectatlocation(o:object, l:location) & "
    "receptacleatlocation(r:receptacle, l:location) & not_inreceptacle(o:object, r:receptacle)"
)
_LOCATED: Final = "receptacleatlocation(r:receptacle, l:location)"
_HELP: Final = """
Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""

UNKNOWN_GOAL: Final = "UNKNOWN GOAL"

RULES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "intro": (("", "-= Welcome to TextWorld, ALFRED! =-\n\n#look.feedback#\n\n#task#"),),
    "task": (("", f"Your task is to: {UNKNOWN_GOAL}."),),
    "GotoLocation.feedback": (("", "You arrive at {r.name}. #examineReceptacle.feedback#"),),
    "OpenObject.feedback": (("", "You open the {r.name}. #examineReceptacle.feedback#"),),
    "CloseObject.feedback": (("", "You close the {r.name}."),),
    "PickupObject.feedback": (("", "You pick up the {o.name} from the {r.name}."),),
    "PutObject.feedback": (("", "You move the {o.name} to the {r.name}."),),
    "inventory.feedback": (
        ("holdsany(a:agent)", f"You are carrying: {_HELD}."),
        ("", "You are not carrying anything."),
    ),
    "examineReceptacle.feedback": (
        ("openable(r:receptacle) & opened(r:receptacle)", "The {r.name} is open. In it, you see " + _INSIDE + "."),
        ("openable(r:receptacle)", "The {r.name} is closed."),
        ("", "On the {r.name}, you see " + _INSIDE + "."),
    ),
    "examineObject.feedback": (
        ("isreceptacleobject(o:object)", "This is a normal {o.name}. In it, you see " + _CONTAINED + "."),
        ("isclean(o:object) & ishot(o:object) & issliced(o:object)", "This is a hot and clean sliced {o.name}."),
        ("isclean(o:object) & iscool(o:object) & issliced(o:object)", "This is a cool and clean sliced {o.name}."),
        ("isclean(o:object) & issliced(o:object)", "This is a clean sliced {o.name}."),
        ("ishot(o:object) & issliced(o:object)", "This is a hot sliced {o.name}."),
        ("iscool(o:object) & issliced(o:object)", "This is a cool sliced {o.name}."),
        ("isclean(o:object) & ishot(o:object)", "This is a hot and clean {o.name}."),
        ("isclean(o:object) & iscool(o:object)", "This is a cool and clean {o.name}."),
        ("ishot(o:object)", "This is a hot {o.name}."),
        ("isclean(o:object)", "This is a clean {o.name}."),
        ("iscool(o:object)", "This is a cold {o.name}."),
        ("toggleable(o:object) & istoggled(o:object)", "This {o.name} is on."),
        ("toggleable(o:object) & not_istoggled(o:object)", "This {o.name} is off."),
        ("sliceable(o:object) & issliced(o:object)", "This is a sliced {o.name}."),
        ("", "There's nothing special about {o.name}."),
    ),
    "toggleObject.feedback": (
        ("toggleable(o:object) & istoggled(o:object)", "You turn on the {o.name}."),
        ("toggleable(o:object)", "You turn off the {o.name}."),
        ("", "You don't see any switch on the {o.name}."),
    ),
    "heatObject.feedback": (("", "You heat the {o.name} using the {r.name}."),),
    "cleanObject.feedback": (("", "You clean the {o.name} using the {r.name}."),),
    "coolObject.feedback": (("", "You cool the {o.name} using the {r.name}."),),
    "sliceObject.feedback": (("", "You sliced the {co.name} with the {ko.name}."),),
    "look.feedback": (
        (_AT_FEET, "#look-variations#. Next to it, you see #list_objects_on_the_floor#."),
        ("", "You are in the middle of a room. Looking quickly around you, you see #list_appliances#."),
    ),
    "look-variations": (("", "You are facing the " + _FACING),),
    "list_objects_on_the_floor": ((_ON_FLOOR, "[{#overview(o)# | " + _ON_FLOOR + "}]"), ("", "nothing")),
    "list_appliances": ((_LOCATED, "[{#overview(r)# | " + _LOCATED + "}]"), ("", "nothing")),
    "overview(o)": (("", "{o.indefinite} {o.name}"),),
    "overview(r)": (("", "{r.indefinite} {r.name or r.id}"),),
    "list_empty": (("", "nothing"),),
    "list_separator": (("", ", "),),
    "list_last_separator": (("", ", and "),),
    "help.feedback": (("", _HELP),),
}  # fmt: skip
"""rule -> (condition, wording) in the order in which they are tried; the wording is that of alfworld 0.4.2."""

ACTIONS: Final[dict[str, tuple[str, str]]] = {
    "gotolocation": ("go to [{r.name | receptacleatlocation(r:receptacle, lend:location)}]", "GotoLocation.feedback"),
    "openobject": ("open {r}", "OpenObject.feedback"),
    "closeobject": ("close {r}", "CloseObject.feedback"),
    "pickupobject": ("take {o} from {r}", "PickupObject.feedback"),
    "putobject": ("move {o} to {r}", "PutObject.feedback"),
    "toggleobject": ("use {o}", "toggleObject.feedback"),
    "heatobject": ("heat {o} with {r}", "heatObject.feedback"),
    "coolobject": ("cool {o} with {r}", "coolObject.feedback"),
    "cleanobject": ("clean {o} with {r}", "cleanObject.feedback"),
    "sliceobject": ("slice {co} with {ko}", "sliceObject.feedback"),
    "examinereceptacle": ("examine {r}", "examineReceptacle.feedback"),
    "examineobject": ("examine {o}", "examineObject.feedback"),
    "look": ("look", "look.feedback"),
    "inventory": ("inventory", "inventory.feedback"),
    "help": ("help", "help.feedback"),
}
"""action -> (command template, rule of its reply)."""

_PIECES: Final = {
    "{r.name}": "{r}",
    "{o.name}": "{o}",
    "{co.name}": "{co}",
    "{ko.name}": "{ko}",
    "{r}": "{r}",
    "{o}": "{o}",
    "{co}": "{co}",
    "{ko}": "{ko}",
    "#examineReceptacle.feedback#": "{view}",
    "#look.feedback#": "{look}",
    "#task#": "{task}",
    "#look-variations#": "{facing}",
    "#list_objects_on_the_floor#": "{things}",
    "#list_appliances#": "{things}",
    ACTIONS["gotolocation"][0].removeprefix("go to "): "{r}",
    **dict.fromkeys((_INSIDE, _HELD, _CONTAINED, _FACING), "{things}"),
    **dict.fromkeys((RULES["list_objects_on_the_floor"][0][1], RULES["list_appliances"][0][1]), "{things}"),
}
"""What wordings may refer to -> the field of our own template."""

_TEMPLATE_PIECE: Final = re.compile(r"\[[^\[\]]*\]|\{[^{}]*\}|#[^#]*#")
_BLANKS: Final = re.compile(r"\s+")
_FIXED: Final = ("overview(o)", "overview(r)")
_PART: Final = re.compile(
    r'grammar\s*::\s*"""(?P<rules>.*?)"""\s*;'
    r"|action\s+(?P<action>\w+)\s*\{"
    r'|(?P<key>template|feedback)\s*::\s*"(?P<value>[^"]*)"\s*;'
    r"|(?P<end>\})"
    r"|(?P<blank>\s+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Grammar:
    """Wordings ready for `str.format`.

    Attributes:
        commands: template of every action, by lower-case action name.
        replies: rule -> its wordings, in the order of `RULES`.
        task: the whole task line, "Your task is to: ...".
    """

    commands: Mapping[str, str]
    replies: Mapping[str, tuple[str, ...]]
    task: str

    @property
    def goal_sentence(self) -> str:
        """What is to be done: the task line without its opening and its full stop."""
        return self.task.removeprefix("Your task is to: ").removesuffix(".")

    @property
    def characters(self) -> set[str]:
        """Every character the wordings hold."""
        return set(self.task).union(*(text for texts in self.replies.values() for text in texts))

    def listing(self, things: list[str]) -> str:
        """The things as an enumeration."""
        if not things:
            return self.replies["list_empty"][0]
        if len(things) == 1:
            return things[0]
        head = self.replies["list_separator"][0].join(things[:-1])
        return head + self.replies["list_last_separator"][0] + things[-1]


def read_grammar(text: str) -> Grammar:
    """The grammar in a game file; linear in its length.

    Raises: TaskError "bad_grammar" naming the action or rule that is missing, malformed, or built in an unknown way.
    """
    rules, actions = _parts(text)
    commands = {name: _command(name, actions.get(name)) for name in ACTIONS}
    replies = {name: _wordings(name, rules.get(name)) for name in RULES if name != "task"}
    task = rules.get("task")
    try:
        line = task[0]["rhs"] if task else ""
    except (KeyError, IndexError, TypeError):
        line = ""
    if not isinstance(line, str) or not line:
        raise TaskError("bad_grammar", "grammar rule 'task' is missing or has no 'rhs'")
    return Grammar(commands, replies, line.replace("\\n", "\n"))


def _parts(text: str) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Rules by name, and the keys of every action by lower-case name."""
    rules: dict[str, Any] = {}
    actions: dict[str, dict[str, str]] = {}
    inside = ""
    position = 0
    while position < len(text):
        found = _PART.match(text, position)
        if found is None:
            line = text.count("\n", 0, position) + 1
            raise TaskError(
                "bad_grammar", f"grammar, line {line}: {text[position : position + 40]!r} is not understood"
            )
        if found["rules"] is not None:
            rules |= _read_rules(found["rules"], inside)
        elif found["action"]:
            inside = found["action"].lower()
            actions[inside] = {}
        elif found["key"] and inside:
            actions[inside][found["key"]] = found["value"]
        elif found["end"]:
            inside = ""
        position = found.end()
    return rules, actions


def _read_rules(text: str, action: str) -> dict[str, Any]:
    kept = [line for line in text.split("\n") if not (action and line.lstrip().startswith("#"))]
    where = f"action {action!r}" if action else "the main block"
    try:
        rules = json.loads("\n".join(kept))
    except ValueError as error:
        raise TaskError("bad_grammar", f"grammar rules of {where} are not JSON: {error}") from error
    if not isinstance(rules, dict):
        raise TaskError("bad_grammar", f"grammar rules of {where} are {type(rules).__name__}, expected an object")
    return rules


def _command(name: str, action: dict[str, str] | None) -> str:
    if action is None or "template" not in action:
        raise TaskError("bad_grammar", f"grammar action {name!r} is missing, or has no template")
    expected = f"#{ACTIONS[name][1]}#"
    if action.get("feedback") != expected:
        message = f"grammar action {name!r} has feedback {action.get('feedback')!r}, expected {expected!r}"
        raise TaskError("bad_grammar", message)
    return _template(name, action["template"])


def _wordings(name: str, alternatives: Any) -> tuple[str, ...]:
    """The templates of a rule. Alternatives behind the first without a condition can never apply and are ignored."""
    wordings: list[str] = []
    try:
        for condition, _ in RULES[name]:
            given = alternatives[len(wordings)]
            if _squeeze(given.get("condition", "")) != condition:
                raise TaskError(
                    "bad_grammar",
                    f"grammar rule {name!r}: condition {given.get('condition')!r}, expected {condition!r}",
                )
            wordings.append(_template(name, given["rhs"]))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise TaskError("bad_grammar", f"grammar rule {name!r} is missing or malformed: {error!r}") from error
    return tuple(wordings)


def _template(name: str, wording: str) -> str:
    """Our own template of a wording; leading blanks go, as the original's parser skips them."""
    text = wording.replace("\\n", "\n")
    if name not in ("list_separator", "list_last_separator"):
        text = text.lstrip()
    if name in _FIXED:
        if text != RULES[name][0][1]:
            raise TaskError("bad_grammar", f"grammar rule {name!r}: {text!r}, expected {RULES[name][0][1]!r}")
        return text

    def field(match: re.Match[str]) -> str:
        piece = _squeeze(match[0])
        if piece not in _PIECES:
            raise TaskError("bad_grammar", f"grammar rule {name!r}: {piece!r} is not understood")
        return _PIECES[piece]

    return _TEMPLATE_PIECE.sub(field, text)


def _squeeze(text: str) -> str:
    return _BLANKS.sub(" ", text).strip()


def write_grammar(task: str) -> str:
    """A grammar in the wording of `RULES`, with this goal sentence."""
    rules = {
        name: [{"condition": condition, "rhs": rhs} if condition else {"rhs": rhs} for condition, rhs in alternatives]
        for name, alternatives in RULES.items()
    }
    rules["task"] = [{"rhs": RULES["task"][0][1].replace(UNKNOWN_GOAL, task)}]
    parts = [f'grammar :: """\n{json.dumps(rules, indent=1, ensure_ascii=False)}\n""";']
    for name, (template, rule) in ACTIONS.items():
        parts.append(f'action {name} {{\n    template :: "{template}";\n    feedback :: "#{rule}#";\n}}')
    return "\n\n".join(parts) + "\n"
