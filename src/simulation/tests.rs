//! Seeds hold, replay, and find what is planted.

use super::*;

/// Runs seeds until one fails.
fn first_failure(bug: Option<Bug>, seeds: std::ops::Range<u64>) -> Option<Box<Failure>> {
    seeds.into_iter().find_map(|seed| run(seed, &Options { bug, verbose: false }).err())
}

#[test]
fn seeds_hold() {
    if let Some(failure) = first_failure(None, 0..40) {
        panic!("{failure}");
    }
}

#[test]
fn a_seed_replays_exactly_and_tells_what_happened() {
    for seed in [3, 17] {
        let (first, lines) = run_told(seed, &Options { bug: None, verbose: true });
        let report = first.unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(run(seed, &Options::default()).ok(), Some(report), "told or not");
        assert!(lines.len() as u64 > report.begun && report.begun > 10, "{report:?}");
    }
    let hashes: Vec<_> = [3, 17].map(|seed| run(seed, &Options::default()).map(|report| report.hash).ok()).into();
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn a_planted_bug_is_found() {
    let found = |bug, seeds| {
        let failure = first_failure(Some(bug), 0..seeds).unwrap_or_else(|| panic!("{bug} is not found"));
        println!("{bug}: {failure}");
        failure.violation.rule
    };
    assert!(matches!(found(Bug::Redelivers, 10), Rule::I1 | Rule::I2 | Rule::I3 | Rule::R3 | Rule::Q2));
    assert_eq!(found(Bug::RepeatsAnswers, 10), Rule::I6);
    assert_eq!(found(Bug::DeniesBegun, 20), Rule::I4);
    assert_eq!(found(Bug::AnswersBeforeSync, 10), Rule::L3);
    assert!(matches!(found(Bug::ForgetsEnd, 20), Rule::I6 | Rule::Settled));
    assert_eq!(found(Bug::LeaseFromAnswer, 900), Rule::L1);
    assert!(matches!(found(Bug::SendsUncounted, 20), Rule::R1 | Rule::R3));
    assert!(matches!(found(Bug::ForgetsTransit, 20), Rule::R1 | Rule::R3 | Rule::R4));
    assert_eq!(found(Bug::KeepsHolds, 20), Rule::R2);
    assert_eq!(found(Bug::ReleasesTwice, 20), Rule::R3);
    assert_eq!(found(Bug::HidesLosses, 40), Rule::R4);
    assert_eq!(found(Bug::RunsRecalled, 40), Rule::Q2);
    assert_eq!(found(Bug::ForgetsRecalled, 40), Rule::Q2);
    assert!(matches!(found(Bug::TakesOldGrants, 3_000), Rule::Q1 | Rule::Q2));
    assert!(matches!(found(Bug::KeepsSlots, 40), Rule::Q2 | Rule::Q5 | Rule::Settled));
    assert!(matches!(found(Bug::ForgetsBundles, 60), Rule::AllOrNothing | Rule::Q1 | Rule::Settled));
    assert_eq!(found(Bug::RunsAhead, 40), Rule::Behind);
}
