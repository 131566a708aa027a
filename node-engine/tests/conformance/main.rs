//! One suite for every runtime: the promises of `node_engine::runtime`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "helpers of tests fail like tests, and say why they skip"
)]

mod bed;
mod confinement;
mod docker;
mod hardening;
mod health;
mod images;
mod logs;
mod measure;
mod native;
mod noop;
mod suite;

/// Each test of the suite, once for each runtime.
macro_rules! for_every_runtime {
    ($($name:ident),* $(,)?) => {
        mod native_runtime {
            $(#[tokio::test]
            async fn $name() {
                crate::suite::$name(crate::bed::Bed::native()).await;
            })*
        }

        mod docker_runtime {
            $(#[tokio::test]
            async fn $name() {
                if let Some(bed) = crate::bed::Bed::docker() {
                    crate::suite::$name(bed).await;
                }
            })*
        }
    };
}

for_every_runtime!(
    a_started_application_runs_and_is_listed_with_what_it_was_made_from,
    starting_twice_makes_one_copy,
    an_exit_code_is_recorded_and_told_once,
    an_application_that_ended_is_made_again_by_the_next_start,
    an_application_that_was_killed_is_told_with_its_signal,
    a_polite_application_is_stopped_within_its_grace_and_nobody_is_told,
    a_deaf_application_is_killed_after_its_grace_with_all_its_children,
    an_application_outlives_its_engine_and_the_next_engine_hears_its_end,
    an_end_that_nobody_watched_is_listed,
    arguments_and_environment_arrive,
    an_application_over_its_memory_limit_is_told_as_out_of_memory,
    an_absent_program_is_a_start_failure_that_leaves_nothing,
    published_ports_are_endpoints,
    stopping_what_is_not_there_is_fine,
    files_are_there_at_every_start_as_the_document_has_them,
    the_output_of_all_runs_is_one_and_is_kept_after_the_end,
    following_goes_on_over_restarts_and_ends_with_the_last_word,
    one_that_ended_for_good_is_read_to_its_end,
    every_kind_of_end_carries_the_last_lines,
    a_command_probe_runs_beside_the_application_and_says_why_it_failed,
    a_command_probe_that_hangs_is_killed_when_its_time_is_over,
    a_probe_that_is_given_up_leaves_no_process,
    a_status_from_200_to_399_is_well,
    a_port_that_takes_connections_is_well_and_a_closed_one_is_not,
    who_takes_a_request_and_does_not_answer_is_given_up,
    what_is_not_there_is_not_well,
);
