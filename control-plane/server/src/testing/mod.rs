//! The tests that need a whole control plane: one list of checks, run on SQLite one by one and on
//! a real PostgreSQL all together.

mod checks_access;
mod checks_again;
mod checks_api;
mod checks_door;
mod checks_fleet;
mod checks_keeping;
mod checks_registry;
mod checks_rollout;
mod checks_secrets;
mod checks_talk;
mod contract;
mod facts;
pub(crate) mod postgres;
mod server;

use std::future::Future;
use std::pin::Pin;

use server::Database;

type Check = fn(Database) -> Pin<Box<dyn Future<Output = ()>>>;

/// Each check as a test on SQLite, and all of them in [`CHECKS`] for PostgreSQL.
macro_rules! checks {
    ($($module:ident :: $name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $module::$name(Database::Sqlite).await;
            }
        )*

        const CHECKS: &[(&str, Check)] =
            &[$((stringify!($name), |database| Box::pin($module::$name(database)))),*];
    };
}

checks! {
    checks_access::every_route_asks_for_the_role_in_the_table,
    checks_access::a_request_with_a_cookie_needs_our_header,
    checks_access::guessing_passwords_gets_slow,
    checks_access::a_disabled_user_is_out_at_once,
    checks_access::another_tenant_sees_nothing,
    checks_access::keys_do_no_more_than_their_maker,
    checks_access::each_change_writes_one_audit_row,
    checks_api::wrong_requests_are_problems,
    checks_api::workflow_versions_never_change,
    checks_api::plugins_are_inspected_and_never_change,
    checks_api::a_deployment_pins_and_signs_what_each_device_runs,
    checks_api::what_a_device_lacks_is_refused_by_name,
    checks_api::a_rollback_leads_back_and_forth,
    checks_api::labels_move_deployments,
    checks_api::wishes_are_written_down_in_order,
    checks_api::inputs_that_a_device_would_refuse_are_refused,
    checks_api::the_same_key_is_the_same_wish,
    checks_api::pages_hold_everything_once,
    checks_api::changes_are_streamed_and_resumed,
    checks_api::pages_and_probes_are_served,
    checks_door::a_stream_ends_with_its_login,
    checks_door::streams_of_one_login_are_counted,
    checks_door::a_reader_that_stops_reading_is_cut_off,
    checks_door::one_host_has_so_many_connections,
    checks_door::only_a_trusted_proxy_says_who_is_behind_it,
    checks_door::guessing_join_codes_is_no_login,
    checks_door::under_https_only_our_own_cookie_counts,
    checks_door::metrics_are_open_to_this_machine_only_if_so_wanted,
    checks_fleet::each_result_is_here_once_whatever_the_order,
    checks_fleet::a_result_told_again_under_a_new_log_is_one_row,
    checks_fleet::history_is_taken_in_order,
    checks_fleet::results_and_history_agree,
    checks_fleet::reports_answer_wishes,
    checks_fleet::what_cannot_be_read_is_kept,
    checks_fleet::what_a_quota_dropped_leaves_no_gap,
    checks_fleet::blobs_are_read_in_parts,
    checks_fleet::a_join_code_is_good_once,
    checks_fleet::security_events_are_shown,
    checks_fleet::a_view_of_a_long_run_is_bounded,
    checks_talk::approvals_are_listed_while_they_are_open,
    checks_talk::decisions_are_for_those_whom_the_approval_names,
    checks_talk::an_answer_that_a_device_would_refuse_is_refused,
    checks_talk::signals_go_to_runs_that_are_not_over,
    checks_talk::events_are_found_by_name,
    checks_again::a_failed_run_is_retried_where_it_failed,
    checks_again::all_that_failed_alike_are_retried_at_once,
    checks_again::recordings_come_in_parts_and_are_kept_whole,
    checks_again::the_next_runs_are_recorded_at_a_wish,
    checks_registry::what_is_wrong_with_an_upload_is_told_at_once,
    checks_registry::what_is_odd_about_an_upload_stays_with_it,
    checks_registry::a_yanked_version_is_chosen_no_more_and_goes_on_where_it_is,
    checks_registry::a_deprecation_is_shown_wherever_the_version_is_used,
    checks_registry::each_standing_is_set_once_and_audited_once,
    checks_registry::more_permissions_wait_for_an_admin,
    checks_registry::an_approval_covers_the_versions_that_ask_for_no_more,
    checks_registry::what_a_plugin_needs_comes_with_it,
    checks_registry::a_loop_of_dependencies_is_refused,
    checks_registry::plugins_are_found_by_words_category_and_tag,
    checks_registry::a_signature_is_over_everything_and_by_a_key_that_is_good,
    checks_registry::where_signatures_are_required_nothing_else_is_published,
    checks_registry::a_download_goes_on_where_it_broke_off,
    checks_registry::what_was_published_before_is_approved_and_found,
    checks_rollout::the_later_deployment_decides_whatever_the_clock_says,
    checks_rollout::a_rollback_leads_back_to_the_plugins_before,
    checks_secrets::values_go_in_and_never_come_out,
    checks_secrets::a_device_gets_what_its_workflows_declare_sealed_to_its_key,
    checks_secrets::what_a_plugin_may_use_goes_to_its_devices_where_it_is_set,
    checks_secrets::what_is_not_set_is_not_deployed_and_what_is_in_use_stays,
    checks_keeping::old_facts_go_and_the_ledger_stays,
    checks_keeping::trails_and_riddles_go_too,
    checks_keeping::too_many_bytes_go_oldest_first,
    checks_keeping::a_new_generation_signs_and_numbers_anew,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_on_postgres() {
    let cluster = postgres::Cluster::start();
    for (name, check) in CHECKS {
        eprintln!("on PostgreSQL: {name}");
        check(Database::Postgres(cluster.database(name).await)).await;
    }
}
