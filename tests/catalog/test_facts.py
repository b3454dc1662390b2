from centaurlab.catalog.facts import facts_of, siblings, study_facts
from centaurlab.catalog.studies import catalog_studies
from centaurlab.catalog.tables import study_domains


def test_every_study_with_a_module_has_facts_and_a_paradigm():
    for study in catalog_studies().values():
        assert facts_of(study.name).paradigm, study.name
        assert facts_of(study.name).source == "texts"


def test_facts_are_of_studies_that_the_catalog_knows():
    assert set(study_facts()) <= set(study_domains())
    assert {facts.source for facts in study_facts().values()} == {"texts", "scripts", "paper"}
    assert {facts.ids for facts in study_facts().values()} == {"", "anew", "person"}


def test_nothing_is_known_of_other_studies():
    assert facts_of("mine2026").paradigm == facts_of("mine2026").sample == ""
    assert siblings("mine2026", study_facts()) == []


def test_siblings_share_items_people_or_a_paradigm():
    everything = set(study_facts())
    assert siblings("jain1994yogurt", everything) == ["jain1994crackers", "jain1994ketchup"]
    assert siblings("guenther2020TS", everything) == ["guenther2020LDT"]
    assert "frey2017mpl" in siblings("frey2017dfe", everything)
    assert "decker2016twostep" in siblings("shahar2019twosteptask", everything)
    assert siblings("shahar2019twosteptask", {"shahar2019twosteptask", "busch2024_stroop"}) == []


def test_what_an_id_means():
    assert facts_of("sandbrink2024metacontrol").ids == "person"
    assert facts_of("spektor2019contexteffects").ids == "anew"
    assert facts_of("busch2024_stroop").ids == ""
    assert (
        facts_of("guenther2024associations").ids == "anew"
    )  # another name of guenther2024associations_sentences_texts
