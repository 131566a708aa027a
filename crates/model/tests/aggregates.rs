//! What an aggregate says of the workers that it was made of.

#[cfg(test)]
mod tests {
    use model::aggregate::{Aggregate, Class};
    use model::units::{Bytes, Millicores, Resources};
    use model::workload::RuntimeKind;
    use proptest::prelude::*;

    fn class(number: usize) -> Class {
        Class {
            architecture: format!("arch-{number}"),
            runtime: RuntimeKind::Docker,
            accelerator: None,
        }
    }

    fn amount(cpu: u64, memory: u64, disk: u64) -> Resources {
        Resources {
            cpu: Millicores(cpu),
            memory: Bytes(memory),
            disk: Bytes(disk),
        }
    }

    fn of(rooms: &[Resources]) -> Aggregate {
        let mut aggregate = Aggregate::default();
        for room in rooms {
            aggregate.add_room(&class(0), *room);
        }
        aggregate
    }

    fn holes(aggregate: &Aggregate) -> &[Resources] {
        aggregate
            .classes
            .first()
            .map_or(&[], |room| room.holes.as_slice())
    }

    fn any_room() -> impl Strategy<Value = Resources> {
        (0..12u64, 0..12u64, 0..12u64).prop_map(|(cpu, memory, disk)| amount(cpu, memory, disk))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn what_fits_a_hole_fits_a_worker(
            rooms in prop::collection::vec(any_room(), 0..40),
            asked in any_room(),
        ) {
            let aggregate = of(&rooms);
            let in_hole = holes(&aggregate).iter().any(|hole| asked.fits(*hole));
            let in_worker = rooms.iter().any(|room| asked.fits(*room));
            prop_assert!(!in_hole || in_worker);
        }

        #[test]
        fn with_up_to_eight_workers_what_fits_a_worker_fits_a_hole(
            rooms in prop::collection::vec(any_room(), 0..=Aggregate::HOLES),
            asked in any_room(),
        ) {
            let aggregate = of(&rooms);
            let in_hole = holes(&aggregate).iter().any(|hole| asked.fits(*hole));
            let in_worker = rooms.iter().any(|room| asked.fits(*room));
            prop_assert_eq!(in_hole, in_worker);
        }

        #[test]
        fn with_any_number_of_workers_the_one_with_most_memory_is_kept(
            rooms in prop::collection::vec(any_room(), 1..60),
        ) {
            let aggregate = of(&rooms);
            let most = |rooms: &[Resources]| rooms.iter().map(|room| room.memory).max();
            prop_assert_eq!(most(holes(&aggregate)), most(&rooms));
        }

        #[test]
        fn holes_are_few_and_none_fits_into_another(
            rooms in prop::collection::vec(any_room(), 0..60),
        ) {
            let aggregate = of(&rooms);
            let holes = holes(&aggregate);
            prop_assert!(holes.len() <= Aggregate::HOLES);
            for (index, hole) in holes.iter().enumerate() {
                let others = holes.iter().enumerate().filter(|(other, _)| *other != index);
                prop_assert!(others.into_iter().all(|(_, other)| !hole.fits(*other)));
            }
        }

        #[test]
        fn the_total_is_the_sum_of_all_workers(
            rooms in prop::collection::vec(any_room(), 1..60),
        ) {
            let sum = rooms.iter().fold(Resources::default(), |sum, room| sum.plus(*room));
            prop_assert_eq!(of(&rooms).classes.first().map(|room| room.total), Some(sum));
        }
    }

    #[test]
    fn no_more_than_thirty_two_classes_are_kept_and_those_go_on_growing() {
        let mut aggregate = Aggregate::default();
        for number in 0..40 {
            aggregate.add_room(&class(number), amount(1, 1, 1));
        }
        assert_eq!(aggregate.classes.len(), Aggregate::CLASSES);
        aggregate.add_room(&class(39), amount(1, 1, 1));
        assert_eq!(aggregate.classes.len(), 32);
        aggregate.add_room(&class(31), amount(1, 1, 1));
        assert_eq!(
            aggregate.classes.last().map(|room| room.total),
            Some(amount(2, 2, 2))
        );
    }

    #[test]
    fn a_service_finds_the_classes_of_its_runtime_and_architectures() {
        let mut aggregate = Aggregate::default();
        let room = amount(1, 1, 1);
        for number in 0..3 {
            aggregate.add_room(&class(number), room);
        }
        aggregate.add_room(
            &Class {
                runtime: RuntimeKind::Native,
                ..class(0)
            },
            room,
        );
        // Workers with an accelerator are counted in the class without one too: here they would count twice.
        aggregate.add_room(
            &Class {
                accelerator: Some("gpu".to_owned()),
                ..class(0)
            },
            room,
        );
        let count = |runtime, architectures: &[String]| {
            aggregate.classes_for(runtime, architectures).count()
        };
        assert_eq!(count(RuntimeKind::Docker, &[]), 3);
        assert_eq!(
            count(
                RuntimeKind::Docker,
                &["arch-1".to_owned(), "arch-9".to_owned()]
            ),
            1
        );
        assert_eq!(count(RuntimeKind::Native, &[]), 1);
        assert_eq!(count(RuntimeKind::Noop, &[]), 0);
    }
}
