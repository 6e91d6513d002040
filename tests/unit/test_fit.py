"""Who fits: planted effects come back, noise shrinks to nothing, predictions hold, and all of it by direct computation."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import cache

import msgspec
import numpy as np
import pytest

from firstring.errors import BadInput
from firstring.identity.canonical.synonyms import SYNONYMS
from firstring.routing.declared.policy import routing_policy
from firstring.routing.fit.asked import Asked, Person, band_of, segment_of
from firstring.routing.fit.model import PRIOR, FitModel, model_from_json, model_to_json
from firstring.routing.fit.predict import cases_of, explained, fits
from firstring.routing.fit.protected import is_protected, refuse_protected
from firstring.routing.fit.side import AgentsSide, agent_side, joined, mutual
from firstring.routing.fit.train import Outcome, train
from firstring.routing.fit.tree import Data, Shape, smoothed, variances
from firstring.routing.fit.update import update_of, updated

AGENTS, INTENTS = 40, ("billing", "moving", "outage", "refund")
SEGMENTS = (("", "low"), ("vip", "high"))


class World:
    """Effects of agents and intents with given standard deviations, and contacts out of them."""

    def __init__(self, seed: int, *, agent: float, pair: float, handle_pair: float = 0.0, last: float = 0.0) -> None:
        self.random = np.random.default_rng(seed)
        self.success = (
            0.6
            + np.linspace(-0.4, 0.4, len(INTENTS))[None, :]
            + self.random.normal(0.0, agent, AGENTS)[:, None]
            + self.random.normal(0.0, pair, (AGENTS, len(INTENTS)))
        )
        self.handle = 5.2 + self.random.normal(0.0, handle_pair, (AGENTS, len(INTENTS)))
        self.last = last

    def contacts(self, count: int) -> list[Outcome]:
        made = []
        for _ in range(count):
            a, i, s = (int(self.random.integers(n)) for n in (AGENTS, len(INTENTS), len(SEGMENTS)))
            last = bool(self.random.random() < 0.1)
            seconds = math.exp(self.handle[a, i] + self.last * last + self.random.normal(0.0, 0.5))
            worked = bool(self.random.random() < 1.0 / (1.0 + math.exp(-self.success[a, i])))
            repeated = bool(self.random.random() < 0.2)
            tier, band = SEGMENTS[s]
            made.append(
                Outcome(
                    a + 1, "voice", INTENTS[i], "en", tier, band, last_agent=last, met=last,
                    handle_s=seconds, success=worked, repeated=repeated,
                )
            )  # fmt: skip
        return made


def asked(intent: str, tier: str = "", band: str = "low", **person: object) -> Asked:
    return Asked("voice", "en", (Person(1.0, tier, band, ((intent, 1.0),), **person),))  # type: ignore[arg-type]


IDS = np.arange(1, AGENTS + 1)


def odds(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1.0 - p))


@pytest.fixture(scope="module")
def planted() -> tuple[World, FitModel]:
    world = World(7, agent=0.3, pair=0.5, handle_pair=0.25, last=-0.15)
    return world, train(world.contacts(12_000))


def test_planted_effects_come_back(planted: tuple[World, FitModel]) -> None:
    world, model = planted
    found = np.stack([odds(fits(model, asked(intent), IDS).success) for intent in INTENTS], axis=1)
    assert np.corrcoef(found.ravel(), world.success.ravel())[0, 1] > 0.9
    assert abs(found.mean() - world.success.mean()) < 0.08
    of_agent, of_pair, of_segment = model.content.success.tau2
    assert 0.02 < of_agent < 0.3  # .09 was planted
    assert 0.13 < of_pair < 0.4  # .25 was
    assert of_segment < 0.05  # nothing was
    seconds = np.stack([fits(model, asked(intent), IDS).handle_s for intent in INTENTS], axis=1)
    assert np.corrcoef(np.log(seconds).ravel(), world.handle.ravel())[0, 1] > 0.95
    last = sum(model.content.handle.effect(name, "yes") for name in ("last_agent", "met"))
    assert abs(last - world.last) < 0.05


def test_what_is_predicted_happens(planted: tuple[World, FitModel]) -> None:
    """Fresh contacts, in ten equal groups by what was predicted: each within three standard errors; times in the mean."""
    world, model = planted
    fresh = world.contacts(8_000)
    known = {(i, s): fits(model, asked(i, *s), IDS) for i in INTENTS for s in SEGMENTS}
    predicted = np.array([known[one.intent, (one.tier, one.band)].success[one.agent_id - 1] for one in fresh])
    worked = np.array([bool(one.success) for one in fresh], float)
    for group in np.array_split(np.argsort(predicted), 10):
        stated = predicted[group].mean()
        assert abs(worked[group].mean() - stated) < 3.2 * math.sqrt(stated * (1.0 - stated) / len(group))
    seconds = [known[one.intent, (one.tier, one.band)].handle_s[one.agent_id - 1] for one in fresh]
    assert np.mean(seconds) == pytest.approx(np.mean([one.handle_s for one in fresh]), rel=0.05)


@pytest.mark.parametrize("seed", range(2))
def test_noise_shrinks_to_the_population(seed: int) -> None:
    """Agents who do not differ are told apart by next to nothing."""
    model = train(World(100 + seed, agent=0.0, pair=0.0).contacts(3_000))
    for intent in INTENTS:
        found = fits(model, asked(intent), IDS)
        assert np.ptp(found.success) < 0.06
        assert np.std(found.success) < 0.02


def test_of_noise_most_variances_are_zero() -> None:
    shape = Shape(np.arange(200), np.repeat(np.arange(40), 5), 40)
    random = np.random.default_rng(12)
    found = [variances(shape, Data(np.full(200, 9.0), random.normal(0.0, 1.0 / 3.0, 200))) for _ in range(20)]
    assert sum(tau2 == (0.0, 0.0, 0.0) for tau2 in found) >= 18


def test_effects_that_do_not_last_are_not_kept() -> None:
    """Agents whose differences turn over in the newest fifth predict worse than none: all count as the population."""
    world = World(11, agent=0.0, pair=0.8)
    older = world.contacts(6_000)
    world.success = 1.2 - world.success
    model = train([*older, *world.contacts(1_500)])
    assert model.content.gain[0] < 0.0
    assert np.ptp(fits(model, asked("refund"), IDS).success) < 1e-6


# --- by direct computation -----------------------------------------------------------------------------------------


def dense(shape: Shape, data: Data, tau2: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, float]:
    """Means and variances of leaves, and the log likelihood, by the whole covariance matrix of the leaves."""
    agent = shape.agent[shape.middle]
    prior = (
        tau2[0] * (agent[:, None] == agent[None, :])
        + tau2[1] * (shape.middle[:, None] == shape.middle[None, :])
        + tau2[2] * np.eye(len(agent))
    )
    total = prior + np.diag(1.0 / data.precision)
    gain = prior @ np.linalg.inv(total)
    _, logdet = np.linalg.slogdet(total)
    return (
        gain @ data.mean,
        np.diag(prior - gain @ prior),
        -0.5 * (logdet + data.mean @ np.linalg.solve(total, data.mean)),
    )


@pytest.mark.parametrize("tau2", [(0.3, 0.2, 0.1), (0.0, 0.4, 0.2), (0.5, 0.0, 0.0), (0.0, 0.0, 0.0), (0.2, 0.3, 0.0)])
def test_the_tree_is_the_dense_computation(tau2: tuple[float, float, float]) -> None:
    random = np.random.default_rng(3)
    middle = np.array([0, 0, 1, 2, 2, 3, 4, 4, 4])
    shape = Shape(middle, np.array([0, 0, 1, 1, 2]), 3)
    data = Data(random.uniform(0.5, 20.0, 9), random.normal(0.0, 1.0, 9))
    found = smoothed(shape, data, tau2)
    means, spreads, likelihood = dense(shape, data, tau2)
    assert np.allclose(found.leaf.mean, means, atol=1e-10)
    assert np.allclose(found.leaf.variance, spreads, atol=1e-10)
    # Up to a constant of the data: half the log of each precision.
    assert found.log_likelihood - 0.0 == pytest.approx(likelihood, abs=1e-9)


def test_variances_are_the_likeliest() -> None:
    random = np.random.default_rng(5)
    agents, per = 30, 4
    shape = Shape(np.arange(agents * per), np.repeat(np.arange(agents), per), agents)
    effects = random.normal(0.0, 0.6, agents)[np.repeat(np.arange(agents), per)] + random.normal(0.0, 0.4, agents * per)
    data = Data(np.full(agents * per, 40.0), effects + random.normal(0.0, 40.0**-0.5, agents * per))
    found = variances(shape, data)
    best = dense(shape, data, found)[2]
    for other in [(0.2, 0.2, 0.0), (0.6, 0.1, 0.0), (0.36, 0.0, 0.0), (0.36, 0.16, 0.2), (0.36, 0.16, 0.0)]:
        assert dense(shape, data, other)[2] <= best + 0.02


def test_one_level_is_the_textbook_shrinkage() -> None:
    """With agents alone, each mean is drawn by tau2 / (tau2 + noise / n) (Efron and Morris)."""
    shape = Shape(np.arange(3), np.arange(3), 3)
    data = Data(np.array([4.0, 25.0, 0.0]), np.array([1.0, -0.5, 0.0]))
    found = smoothed(shape, data, (0.25, 0.0, 0.0)).agent
    assert found.mean == pytest.approx([0.25 / (0.25 + 1 / 4) * 1.0, 0.25 / (0.25 + 1 / 25) * -0.5, 0.0])
    assert found.variance[2] == pytest.approx(0.25)


def by_hand(model: FitModel, one: Asked, agent: int, name: str) -> float:
    """The expectation over persons and intents, in plain loops over the content."""
    content = model.content
    part = model.part(name)  # type: ignore[arg-type]
    effects = model.effects[name]  # type: ignore[index]

    def of_agent(intent: str, segment: str) -> float:
        if agent not in content.agents:
            return 0.0
        a = content.agents.index(agent)
        leaf = (a, content.intents.index(intent) if intent in content.intents else -1,
                content.segments.index(segment) if segment in content.segments else -1)  # fmt: skip
        if leaf in content.leaves:
            return float(effects.leaf.mean[content.leaves.index(leaf)])
        for place, known in enumerate(content.leaves):
            if known[:2] == leaf[:2]:
                return float(effects.middle.mean[model.shape.middle[place]])
        return float(effects.agent.mean[a])

    def answer(x: float) -> float:
        return math.exp(x) * part.smear if name == "handle" else 1.0 / (1.0 + math.exp(-x))

    total = 0.0
    rest = 1.0 - sum(person.probability for person in one.persons)
    possible: list[tuple[float, Person | None, str]] = []
    for person in one.persons:
        possible += [(person.probability * chance, person, intent) for intent, chance in person.intents]
        possible.append((person.probability * (1.0 - sum(chance for _, chance in person.intents)), person, ""))
    possible += [(rest * chance, None, intent) for intent, chance in one.intents]
    possible.append((rest * (1.0 - sum(chance for _, chance in one.intents)), None, ""))
    for weight, person, intent in possible:
        tier, band = ("", "") if person is None else (person.tier, person.band)
        x = part.intercept + part.effect("channel", one.channel) + part.effect("language", one.language)
        x += part.effect("intent", intent) + part.effect("tier", tier) + part.effect("band", band)
        x += of_agent(intent, segment_of(tier, band))
        if person is not None and (agent in person.met or agent == person.last_agent):
            x += part.effect("met", "yes")
        if person is not None and agent == person.last_agent:
            x += part.effect("last_agent", "yes")
        total += weight * answer(x)
    return total


def test_an_uncertain_caller_is_matched_by_expectation(planted: tuple[World, FitModel]) -> None:
    _, model = planted
    one = Asked(
        "voice", "en",
        (Person(0.5, "vip", "high", (("refund", 0.6), ("moving", 0.4)), last_agent=3, met=(3, 9)),
         Person(0.3, "", "low", (("billing", 1.0),), last_agent=5, met=(5,))),
        (("outage", 1.0),),
    )  # fmt: skip
    assert len(cases_of(one)) == 4
    ids = np.array([9, 3, 5, 17, 40, 9_999])
    found = fits(model, one, ids)
    for name, values in (("success", found.success), ("handle", found.handle_s), ("repeat", found.repeat)):
        assert values == pytest.approx([by_hand(model, one, agent, name) for agent in ids.tolist()], rel=2e-6)
    assert found.handle_s[1] < found.handle_s.max()
    assert found.basis == "fitted"


def test_order_and_company_of_agents_change_nothing(planted: tuple[World, FitModel]) -> None:
    _, model = planted
    one = asked("refund")
    whole = fits(model, one, IDS)
    assert np.array_equal(fits(model, one, IDS[::-1]).success, whole.success[::-1])
    assert np.array_equal(fits(model, one, IDS[4:6]).handle_s, whole.handle_s[4:6])


def test_new_agents_and_new_intents_are_the_population(planted: tuple[World, FitModel]) -> None:
    _, model = planted
    new = fits(model, asked("refund"), np.array([1_000_000, 77]))
    assert new.success[0] == new.success[1]
    part = model.content.success
    levels = (("channel", "voice"), ("language", "en"), ("intent", "refund"), ("tier", ""), ("band", "low"))
    common = 1.0 / (1.0 + math.exp(-part.intercept - sum(part.effect(*one) for one in levels)))
    assert new.success[0] == pytest.approx(common, abs=1e-6)
    never = fits(model, asked("never heard of"), np.array([77]))
    assert never.success[0] == pytest.approx(model.mean_success, abs=0.03)


def test_a_few_contacts_move_a_new_agent_little(planted: tuple[World, FitModel]) -> None:
    _, model = planted
    good = [Outcome(77, "voice", "refund", "en", "", "low", handle_s=90.0, success=True) for _ in range(3)]
    update = update_of(model, good)
    assert update is not None
    after = updated(model, update)
    before = float(fits(model, asked("refund"), np.array([77])).success[0])
    now = float(fits(after, asked("refund"), np.array([77])).success[0])
    assert before < now < before + 0.1
    many = update_of(model, good * 60)
    assert many is not None
    assert float(fits(updated(model, many), asked("refund"), np.array([77])).success[0]) > now + 0.05


def test_updates_of_times_are_exact(planted: tuple[World, FitModel]) -> None:
    """Two halves one after the other are the whole at once, and leave everybody else's leaf as it was."""
    world, model = planted
    fresh = [msgspec.structs.replace(one, success=None, repeated=None) for one in world.contacts(60)]

    def on(before: FitModel, outcomes: list[Outcome]) -> FitModel:
        update = update_of(before, outcomes)
        assert update is not None
        return updated(before, update)

    halves, whole = on(on(model, fresh[:30]), fresh[30:]), on(model, fresh)
    assert halves.version != whole.version != model.version
    for intent in INTENTS:
        assert fits(halves, asked(intent), IDS).handle_s == pytest.approx(fits(whole, asked(intent), IDS).handle_s, rel=1e-5)
        assert fits(whole, asked(intent), IDS).success == pytest.approx(fits(model, asked(intent), IDS).success, rel=1e-9)
    assert update_of(model, [Outcome(1, "voice")]) is None


def test_the_last_agent_shortens_the_call_before_anything_is_learned() -> None:
    found = fits(PRIOR, asked("refund", last_agent=2, met=(2,)), np.array([1, 2, 3]))
    assert found.basis == "prior"
    assert found.handle_s == pytest.approx([190.0, 190.0 * math.exp(-0.096), 190.0], rel=1e-6)
    assert found.success == pytest.approx([0.7] * 3, rel=1e-6)


def test_why_an_agent(planted: tuple[World, FitModel]) -> None:
    _, model = planted
    one = asked("refund", last_agent=3, met=(3,))
    terms = {term.name: term for term in explained(model, one, 3)}
    assert {"intent", "agent", "agent_intent", "last_agent"} <= set(terms)
    total = model.content.success.intercept + sum(term.success for term in terms.values())
    assert 1.0 / (1.0 + math.exp(-total)) == pytest.approx(float(fits(model, one, np.array([3])).success[0]), abs=1e-5)


# --- the agent's side ----------------------------------------------------------------------------------------------


def test_both_sides_count() -> None:
    side = agent_side(
        0.7, 5,
        wish=np.array([0.0, 1.0, -1.0, 0.0, 0.0]), load=np.array([0.5, 0.5, 0.5, 0.9, 0.1]),
        hard=np.array([0.0, 0.0, 0.0, 0.0, 3.0]),
    )  # fmt: skip
    assert side[0] == pytest.approx(0.7)
    assert side[1] > side[0] > side[2]
    assert side[3] < side[0]
    assert mutual(np.full(5, 0.7), side)[0] == pytest.approx(0.7)
    assert mutual(np.array([0.9, 0.0]), np.array([0.3, 0.0])) == pytest.approx([0.45, 0.0])
    assert len(agent_side(0.7, 0)) == 0


def test_the_agents_side_changes_the_customers_and_says_why() -> None:
    side = AgentsSide(np.array([0.0, 1.0, 0.0, 0.0]), np.array([0.7, 0.7, 0.9, 0.7]), 0.7, np.array([0.0, 0.0, 0.0, 2.0]))
    found = joined(np.full(4, 0.6), side.chances(0.7), 0.7)
    assert found[0] == pytest.approx(0.6), "of whom nothing is known, the customer's side alone counts"
    assert found[1] > 0.6 > found[2] > found[3]
    assert [side.said(place) for place in range(4)] == [
        "",
        "Wants to use or to learn what it takes",
        "Busy for 90% of the last half hour, all for 70%",
        "2 hard contacts within the hour",
    ]
    assert AgentsSide(np.zeros(2), None, 0.0, np.zeros(2)).neutral
    assert AgentsSide(np.zeros(0), None, 0.0, np.zeros(0)).chances(0.7).tolist() == []


# --- what never enters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["gender", "Age", "ageGroup", "age_group", "birth_date", "BirthYear", "country", "postcode", "family_name", "origin",
     "customer_nationality", "ethnicity", "native_country", "sex", "dob", "email", "social_x", "full_name", "zipCode",
     "geschlecht", "Geschlecht_Kunde", "sexe2", "Date of Birth", "geburtsdatum", "fechaNacimiento", "paese", "land",
     "Nationalität", "customer.sex", "GENDER_CODE", "alter", "vorname", "nachname", "plz", "twitter"],
)  # fmt: skip
def test_protected_attributes_are_refused(name: str) -> None:
    assert is_protected(name)
    with pytest.raises(BadInput) as refused:
        train(World(1, agent=0.0, pair=0.0).contacts(100), fields=["plan", name])
    assert refused.value.code == "feature_protected"
    assert refused.value.where["name"] == name


@pytest.mark.parametrize(
    "name", ["plan", "tier", "language", "product", "package", "stage", "usage", "message", "device_age"]
)
def test_other_names_may_enter(name: str) -> None:
    assert is_protected(name) == (name == "device_age")  # rather one too many
    if name != "device_age":
        refuse_protected([name], "x")


def test_no_other_name_of_a_protected_field_gets_past() -> None:
    """Every name by which a column of an import is known, as a field that a policy names."""
    for spelling, field in SYNONYMS.items():
        assert is_protected(spelling) == is_protected(field), spelling
    for name in ("geschlecht", "dob"):
        with pytest.raises(BadInput) as refused:
            routing_policy({"fit_fields": ["plan", name]})
        assert refused.value.code == "feature_protected"


def test_a_field_of_the_policys_choice_is_learned() -> None:
    random = np.random.default_rng(2)
    rows = [
        Outcome(
            int(random.integers(1, 5)), "voice", facts={"plan": plan}, handle_s=100.0, success=bool(random.random() < chance)
        )
        for plan, chance in [("gold", 0.9), ("basic", 0.5)] * 1_000
    ]
    model = train(rows, fields=["plan"])
    found = [
        float(fits(model, Asked("voice", "", (Person(1.0, facts={"plan": plan}),)), np.array([1])).success[0])
        for plan in ("gold", "basic", "unheard")
    ]
    assert found[0] == pytest.approx(0.9, abs=0.04)
    assert found[1] == pytest.approx(0.5, abs=0.05)
    assert found[1] < found[2] < found[0]


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_model_is_a_readable_file(planted: tuple[World, FitModel]) -> None:
    _, model = planted
    text = model_to_json(model)
    again = model_from_json(text)
    assert again.version == model.version
    assert "refund" in text
    assert np.array_equal(fits(again, asked("refund"), IDS).success, fits(model, asked("refund"), IDS).success)


@cache
def small_model() -> str:
    return model_to_json(train(World(1, agent=0.2, pair=0.0).contacts(300)))


def changed(change: Callable[[dict], object]) -> str:
    raw = msgspec.json.decode(small_model(), type=dict)
    change(raw)
    return msgspec.json.encode(raw).decode()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda raw: raw.update(format="firstring-fit/9"), "fit_model_version"),
        (lambda raw: raw.pop("format"), "fit_model_version"),
        (lambda raw: raw.pop("success"), "fit_model_invalid"),
        (lambda raw: raw["success"]["information"].pop(), "fit_model_invalid"),
        (lambda raw: raw["leaves"].reverse(), "fit_model_invalid"),
        (lambda raw: raw["leaves"][-1].__setitem__(0, 9_999), "fit_model_invalid"),
        (lambda raw: raw["handle"].update(noise=0.0), "fit_model_invalid"),
        (lambda raw: raw["handle"]["tau2"].__setitem__(0, -1.0), "fit_model_invalid"),
        (lambda raw: raw.update(agents=[0, *raw["agents"][1:]]), "fit_model_invalid"),
        (lambda raw: raw["success"]["effects"].update(gender={"f": 0.1}), "feature_protected"),
        (lambda raw: raw["success"]["effects"].update({"field:age": {"old": 0.1}}), "feature_protected"),
        (lambda raw: raw["success"]["effects"].update(weather={"f": 0.1}), "fit_model_invalid"),
        (lambda raw: raw.update(fields=["nationality"]), "feature_protected"),
        (lambda raw: raw["success"].update(intercept=100.0), "fit_model_invalid"),
        (lambda raw: raw["success"].update(intercept=-800.0), "fit_model_invalid"),
        (lambda raw: raw["handle"].update(smear=1e40), "fit_model_invalid"),
        (lambda raw: raw["handle"]["effects"]["channel"].update(voice=400.0), "fit_model_invalid"),
        (lambda raw: raw["handle"].update(tau2=[1e9, 0.0, 0.0], mean=[1e4] * len(raw["leaves"])), "fit_model_invalid"),
    ],
)
def test_what_is_no_model_is_refused(change: Callable[[dict], object], code: str) -> None:
    with pytest.raises(BadInput) as refused:
        model_from_json(changed(change), file="model.json")
    assert refused.value.code == code


@pytest.mark.parametrize("text", ["", "[]", "no json", '{"format": "firstring-fit/1"', "\x00"])
def test_no_json_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        model_from_json(text)
    assert refused.value.code == "fit_model_invalid"


def test_too_few_outcomes_train_nothing() -> None:
    with pytest.raises(BadInput) as refused:
        train(World(1, agent=0.0, pair=0.0).contacts(20))
    assert refused.value.code == "outcomes_too_few"
    with pytest.raises(BadInput):
        train([])


def test_bands() -> None:
    assert [band_of(score) for score in (None, 0.0, 39.9, 40.0, 69.9, 70.0, 100.0)] == [
        "", "low", "low", "middle", "middle", "high", "high",
    ]  # fmt: skip


def test_what_counts_as_success_is_the_policys() -> None:
    policy = routing_policy({"success": ["resolved", "sold"], "not_judged": ["test"], "fit_fields": ["plan"]})
    assert (policy.success, policy.not_judged, policy.fit_fields) == (("resolved", "sold"), ("test",), ("plan",))
    with pytest.raises(BadInput) as refused:
        routing_policy({"fit_fields": ["gender"]})
    assert refused.value.code == "feature_protected"
    with pytest.raises(BadInput) as twice:
        routing_policy({"success": ["resolved"], "not_judged": ["resolved"]})
    assert twice.value.code == "policy_inconsistent"


def test_an_update_of_known_leaves_is_that_of_new_ones(planted: tuple[World, FitModel]) -> None:
    """The quick way for leaves that are there comes to the same as the slow one."""
    world, model = planted
    fresh = world.contacts(50)
    known = update_of(model, fresh)
    assert known is not None
    quick = updated(model, known)
    assert quick.shape is model.shape or np.array_equal(quick.shape.middle, model.shape.middle)
    stranger = Outcome(999, "voice", "refund", success=True)
    both = update_of(model, [*fresh, stranger])
    assert both is not None
    slow = updated(model, both)
    for intent in INTENTS:
        for tier, band in SEGMENTS:
            one, other = (fits(each, asked(intent, tier, band), IDS) for each in (quick, slow))
            assert one.success == pytest.approx(other.success, abs=2e-6)
            assert one.handle_s == pytest.approx(other.handle_s, rel=2e-6)
    again = model_from_json(model_to_json(quick))
    assert np.array_equal(fits(again, asked("refund"), IDS).success, fits(quick, asked("refund"), IDS).success)


def test_nothing_is_certain_of_a_few() -> None:
    few = [Outcome(1 + number % 3, "voice", "x", handle_s=100.0, success=True) for number in range(60)]
    model = train(few)
    assert 0.98 < model.mean_success < 0.995, "as of 60 of 60 (Jeffreys: 60.5 of 61)"
    for _ in range(3):
        update = update_of(model, [Outcome(1, "voice", "x", success=False)] * 5)
        assert update is not None
        model = updated(model, update)
    found = fits(model, Asked("voice", intents=(("x", 1.0),)), np.array([1, 2, 9])).success
    assert np.isfinite(found).all()
    assert np.abs(np.array(model.content.success.mean)).max() < 1_000.0


def test_a_model_is_asked_by_two_threads_at_once() -> None:
    """Prices are found in a thread, with the model that contacts which ring are decided with: what one has just found, the
    other forgets before it is used."""

    class Forgets(OrderedDict[tuple[str, str | None, str | None], np.ndarray]):
        def get(self, key: tuple[str, str | None, str | None], default: object = None) -> object:
            return super().pop(key, default)

    model = train(World(1, agent=0.2, pair=0.2).contacts(300))
    right = model.of_agents("success", "refund").copy()
    model._cached = Forgets(model._cached)
    for _ in range(3):
        assert np.array_equal(model.of_agents("success", "refund"), right)
