"""What people and programs get to see of what was decided; the kernel need not wait for it."""

from __future__ import annotations

from ..model.numbers import Numbers
from ..model.policy import Policy
from ..model.renew import renew
from ..model.routing import KernelState, Rule
from ..model.view import Service, SessionView, View
from ..model.words import Family
from ..model.world import World
from . import findings, services
from .desire import Decided
from .naming import technology
from .recall import Recall
from .sessions import Choice
from .sockets import lacking

NOTHING = KernelState()
NO_RULES: frozenset[Rule] = frozenset()
NO_HOMES: frozenset[str] = frozenset()


def listed(decided: Decided, recall: Recall) -> tuple[Service, ...]:
    """Give the services.

    Args:
        decided: what was decided.
        recall: what the last pass worked out.
    """
    of = decided.verdicts
    return tuple(recall.of(m.link.index, services.shown, m, of[m.id]) for m in decided.members)


def show(world: World, policy: Policy, decided: Decided, recall: Recall | None = None) -> View:
    """Give the picture.

    Args:
        world: what was found.
        policy: what is wished for.
        decided: what was decided of it.
        recall: what the last pass worked out.
    """
    known = recall or Recall()
    shown = listed(decided, known)
    sessions = tuple(known.of(c.session.number, _session, c, policy.numbers) for c in decided.choices)
    missed = tuple(decided.caught[session.number].missed for session in policy.sessions)
    # What is ours in the kernel, and when to look again, are nothing that a check asks for.
    seen = renew(world, have=NOTHING, had=NO_RULES, digest="", homes=NO_HOMES, next_expiry=None, strangers=())
    scene = findings.Scene(seen, renew(policy, sessions=()), decided.members, shown)
    unmarked = lacking(world, policy)
    homes = world.homes if unmarked else NO_HOMES
    marked = findings.Sessions(policy, world.rules, world.strangers, shown, missed, unmarked, homes)
    troubles = (
        *known.of("services", findings.of_services, scene),
        *known.of("sessions", findings.of_sessions, marked),
    )
    return View(shown, sessions, known.of("findings", findings.ranked, troubles))


def _session(choice: Choice, numbers: Numbers) -> SessionView:
    best = choice.best
    reasons = [f"{name}: {verdict.because}" for name, verdict in choice.verdicts.items() if not verdict.allowed]
    missing = [family.label for family in Family if family not in choice.defaults]
    lacks = f"no service for {' and '.join(missing)}" if missing else ""
    return SessionView(
        name=choice.session.settings.name,
        number=choice.session.number,
        mark=numbers.mark(choice.session.number),
        state=choice.state,
        bearer=technology(best.link).value if best else "",
        interface=best.link.name if best else "",
        service=best.id if best else "",
        routed=tuple(member.id for member in choice.members),
        reason="; ".join(filter(None, (lacks, *reasons))) or "all services serve it",
        active=choice.session.active,
        settings=choice.session.settings,
        defaults={family: member.id for family, member in choice.defaults.items()},
        born=choice.session.born,
    )
