//! The state of a job, by the order of the contract's rules; and what rejections say.

#[cfg(test)]
mod tests {
    use model::job::{JobState, Tally};
    use model::location::Location;
    use model::operation::OperationKind;
    use model::reason::{ReasonCode as Code, Rejections};

    fn tally(change: impl FnOnce(&mut Tally)) -> Tally {
        let mut tally = Tally::default();
        change(&mut tally);
        tally
    }

    /// Empties one state.
    type TakeAway = fn(&mut Tally);

    /// One slot in every state.
    fn all() -> Tally {
        Tally {
            requested: 1,
            scheduled_cluster: 1,
            scheduled_node: 1,
            running: 1,
            failed: 1,
            not_deployed: 1,
            unknown: 1,
            terminated: 1,
        }
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let mut left = all();
        assert_eq!(
            left.state(true, Some(OperationKind::Scale)),
            JobState::Terminated
        );
        assert_eq!(
            left.state(false, Some(OperationKind::Scale)),
            JobState::Scaling
        );
        let rules: [(JobState, TakeAway); 6] = [
            (JobState::Failed, |left| left.failed = 0),
            (JobState::NotDeployed, |left| left.not_deployed = 0),
            (JobState::Unknown, |left| left.unknown = 0),
            (JobState::Requested, |left| left.requested = 0),
            (JobState::ScheduledCluster, |left| {
                left.scheduled_cluster = 0;
            }),
            (JobState::ScheduledNode, |left| left.scheduled_node = 0),
        ];
        for (state, take_away) in rules {
            assert_eq!(left.state(false, None), state);
            take_away(&mut left);
        }
        assert_eq!(left.state(false, None), JobState::Running);
        left.running = 0;
        assert_eq!(left.state(false, None), JobState::Terminated);
    }

    #[test]
    fn a_job_runs_when_all_its_slots_do_or_it_has_none() {
        let two = tally(|tally| tally.running = 2);
        assert_eq!(two.state(false, None), JobState::Running);
        assert_eq!(Tally::default().state(false, None), JobState::Running);
        let one_ended = tally(|tally| (tally.running, tally.terminated) = (1, 1));
        assert_eq!(one_ended.state(false, None), JobState::Running);
    }

    #[test]
    fn every_state_is_found_by_its_word() {
        for state in JobState::ALL {
            assert_eq!(JobState::parse(state.as_str()), Some(state));
        }
        assert_eq!(JobState::parse("running"), None);
    }

    fn counted(codes: &[(Code, u32)]) -> Rejections {
        let mut rejections = Rejections::default();
        for (code, count) in codes {
            (0..*count).for_each(|number| rejections.add(*code, &format!("w{number}")));
        }
        rejections
    }

    #[test]
    fn the_main_reason_is_the_nearest_miss() {
        let table = [
            (None, counted(&[])),
            (Some(Code::Cordoned), counted(&[(Code::Cordoned, 1)])),
            (
                Some(Code::ArchitectureMismatch),
                counted(&[(Code::Cordoned, 1), (Code::ArchitectureMismatch, 2)]),
            ),
            (
                Some(Code::InsufficientMemory),
                counted(&[(Code::Cordoned, 50), (Code::InsufficientMemory, 1)]),
            ),
            (
                Some(Code::InsufficientCpu),
                counted(&[(Code::InsufficientCpu, 3), (Code::InsufficientMemory, 2)]),
            ),
            (
                Some(Code::PortTaken),
                counted(&[(Code::PortTaken, 1), (Code::NotPinned, 9)]),
            ),
        ];
        for (main, rejections) in table {
            assert_eq!(rejections.main(), main, "{}", rejections.sentence("worker"));
        }
    }

    #[test]
    fn every_candidate_is_counted_and_five_of_each_reason_are_named() {
        let rejections = counted(&[(Code::InsufficientMemory, 7), (Code::Unreachable, 2)]);
        let examples: Vec<usize> = rejections.iter().map(|(.., names)| names.len()).collect();
        assert_eq!((rejections.total(), examples), (9, vec![5, 2]));
        assert_eq!(
            rejections.sentence("cluster"),
            "9 clusters: 7 short of memory, 2 unreachable"
        );
    }

    #[test]
    fn a_location_is_free_text_or_parts_in_any_order() {
        let parts = Location::parse(" lon=11.6 , city=Munich ,lat=-48.1").unwrap();
        assert_eq!(parts.city.as_deref(), Some("Munich"));
        assert_eq!((parts.latitude, parts.longitude), (Some(-48.1), Some(11.6)));
        assert_eq!(parts.country, None);
        let free = Location::parse("  Hall 3, left  ").unwrap();
        assert_eq!((free.text.as_str(), &free.city), ("Hall 3, left", &None));
        assert!(free.matches("hall 3, LEFT") && !free.matches("Hall 3"));
        for bad in ["lat=nan", "lat=90.5", "lon=inf", "city", "city=a,,b"] {
            assert_eq!(Location::parse(bad).is_err(), bad.contains('='), "{bad}");
        }
    }
}
