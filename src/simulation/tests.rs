//! Seeds hold, replay, and find what is planted.

use super::*;
use std::ops::Range;

#[test]
fn seeds_hold() {
    for seed in 0..40 {
        run(seed, &Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn a_seed_replays_exactly_and_tells_what_happened() {
    for seed in [3, 17] {
        let (first, lines) = run_told(seed, &Options { verbose: true, ..Options::default() });
        let report = first.unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(run(seed, &Options::default()).ok(), Some(report), "told or not");
        assert!(lines.len() as u64 > report.begun && report.begun > 10, "{report:?}");
    }
    let hashes: Vec<_> = [3, 17].map(|seed| run(seed, &Options::default()).map(|report| report.hash).ok()).into();
    assert_ne!(hashes[0], hashes[1]);
}

/// Every bug, by which rule it is found within so few seeds, and what must go wrong for that, where it seldom does.
#[test]
fn a_planted_bug_is_found() {
    for bug in Bug::ALL {
        let (rules, seeds, temper): (&[Rule], Range<u64>, Option<Temper>) = match bug {
            Bug::Redelivers => (&[Rule::I1, Rule::I2, Rule::I3, Rule::R3, Rule::Q2], 0..10, None),
            Bug::LeaseFromAnswer => (&[Rule::L1, Rule::Supervised], 0..60, Some(Temper::Leases)),
            Bug::RepeatsAnswers => (&[Rule::I6], 0..10, None),
            Bug::DeniesBegun => (&[Rule::I4], 0..20, None),
            Bug::RetriesInPlace => (&[Rule::I2], 0..40, None),
            Bug::RestartsBeside => (&[Rule::I7], 0..60, None),
            Bug::RetriesForever => (&[Rule::Attempts], 0..40, None),
            Bug::ReordersRetries => (&[Rule::I3], 0..40, None),
            Bug::AnswersBeforeSync => (&[Rule::L3], 0..10, None),
            Bug::KeepsEpoch => (&[Rule::L5], 0..20, None),
            Bug::ForgetsEnd => (&[Rule::I6, Rule::Settled], 0..20, None),
            Bug::TakesStale => (&[Rule::L2], 0..400, Some(Temper::Runs)),
            Bug::SendsUncounted => (&[Rule::R1, Rule::R3], 0..20, None),
            Bug::ForgetsTransit => (&[Rule::R1, Rule::R3, Rule::R4], 0..20, None),
            Bug::KeepsHolds => (&[Rule::R2], 0..20, None),
            Bug::ReleasesTwice => (&[Rule::R3], 0..20, None),
            Bug::HidesLosses => (&[Rule::R4], 0..40, None),
            Bug::RunsRecalled | Bug::ForgetsRecalled => (&[Rule::Q2], 0..40, None),
            Bug::TakesOldGrants => (&[Rule::Q1, Rule::Q2], 0..100, Some(Temper::Grants)),
            Bug::GrantsTwice => (&[Rule::Q1, Rule::Q2, Rule::Q5, Rule::Settled], 0..20, None),
            Bug::KeepsSlots => (&[Rule::Q2, Rule::Q5, Rule::Settled], 0..40, None),
            Bug::ForgetsBundles => (&[Rule::AllOrNothing, Rule::Q1, Rule::Settled], 0..60, None),
            Bug::TakesStaleSaves | Bug::ForgetsSaves | Bug::KeepsFormer => (&[Rule::L6], 0..60, None),
            Bug::ForgetsLater | Bug::StartsBeside | Bug::MendsForever => (&[Rule::Supervised], 0..80, None),
            Bug::ForgetsWatchers => (&[Rule::Supervised, Rule::I6], 0..20, None),
            Bug::RunsAhead => (&[Rule::Behind], 0..40, None),
        };
        let failed = |seed| run(seed, &Options { bug: Some(bug), temper, ..Options::default() }).err();
        let failure = seeds.into_iter().find_map(failed).unwrap_or_else(|| panic!("{bug} is not found"));
        println!("{bug}: {failure}");
        assert!(rules.contains(&failure.violation.rule), "{bug} is found by another rule: {failure}");
    }
}
