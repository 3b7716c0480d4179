# SPDX-License-Identifier: Apache-2.0
# deadline: 60
# What leaves the library is what vine.h declares, versioned, and none of TaskVine's names: a program may be linked with both.
. "$SRC/tests/system/lib.sh"

library=$(find "$STAGE" -name 'libvineclient.so.*' -type f)
header=$(find "$STAGE" -name vine.h)

# Of taskvine.h, vine_task.h and vine_file.h, that its library has as symbols.
taskvine="block_host block_host_with_timeout cancel_all cancel_all_tasks cancel_by_task_id cancel_by_task_tag checksum_any
create declare_buffer declare_chirp declare_empty_dir declare_file declare_mini_task declare_poncho declare_starch declare_temp
declare_untar declare_url declare_xrootd delete disable_peer_transfers empty enable_debug_log enable_disconnect_slow_workers
enable_monitoring enable_monitoring_full enable_peer_transfers enable_perf_log enable_proportional_resources
enable_return_recovery_tasks fetch_file file_addref file_buffer file_chirp file_clone file_contents file_create file_delete
file_empty_dir file_has_changed file_local file_make_file_url file_mini_task file_poncho file_size file_source file_starch
file_substitute_url file_temp file_untar file_untgz file_unponcho file_url file_xrootd get_effective_bandwidth
get_name get_runtime_directory get_stats get_stats_category get_status hungry hungry_computation initialize_categories
install_library invalidate_cached_file port prune_file remove_library result_string set_bandwidth_limit set_catalog_servers
set_category_first_allocation_guess set_category_max_concurrent set_category_mode set_category_resources_max
set_category_resources_min set_draining_by_hostname set_keepalive_interval set_keepalive_timeout set_long_timeout
set_manager_preferred_connection set_name set_password set_password_file set_priority set_property set_resources_max
set_resources_min set_runtime_info_path set_scheduler set_task_id_min set_tasks_max set_tasks_max_retries ssl_create submit
submit_library_task summarize_workers task_add_environment task_add_execution_context task_add_feature task_add_input
task_add_input_buffer task_add_input_file task_add_input_mini_task task_add_input_url task_add_output task_add_output_buffer
task_add_output_file task_add_empty_dir task_addref task_check_consistency task_clean task_clone task_copy task_create task_delete
task_func_exec_mode_from_string task_get_addrport task_get_category task_get_command task_get_exit_code task_get_hostname
task_get_id task_get_library_name task_get_metric task_get_output_buffer task_get_output_buffer_length task_get_resources
task_get_result task_get_state task_get_stdout task_get_tag task_set_category task_set_command task_set_coprocess task_set_cores
task_set_disk task_set_env_var task_set_function_exec_mode task_set_function_slots task_set_gpus task_set_library_provided
task_set_library_required task_set_memory task_set_monitor_output task_set_priority task_set_resources task_set_result
task_set_retries task_set_scheduler task_set_snapshot_file task_set_tag task_set_time_end task_set_time_max task_set_time_min
task_set_time_start task_state task_state_to_string task_to_json tune unblock_all unblock_host undeclare_file update_catalog
version_string wait wait_for_tag wait_for_task_id workers_connected workers_shutdown"

nm -D --defined-only "$library" | awk '$2 ~ /[TDBRVW]/ { print $3 }' >"$DIR/symbols"
sed 's/@.*//' "$DIR/symbols" | sort >"$DIR/names"
sed -n 's/^VINE_API .*[ *]\(vine_[a-z_]*\)(.*/\1/p' "$header" | sort >"$DIR/declared"
[ "$(wc -l <"$DIR/declared")" -ge 20 ] || fail "only $(wc -l <"$DIR/declared") functions found in vine.h"
diff "$DIR/declared" "$DIR/names" >&2 || fail "what vine.h declares (<) is not what leaves the library (>)"
! grep -v '@@VINE_[0-9]' "$DIR/symbols" || fail "these have no version"
for name in $taskvine; do echo "vine_$name"; done | sort >"$DIR/taskvine"
[ -z "$(comm -12 "$DIR/names" "$DIR/taskvine")" ] || fail "TaskVine's, too: $(comm -12 "$DIR/names" "$DIR/taskvine")"

# A program with functions of all these names, of which the library may not call one, links and runs.
case "$(strings "$(command -v vined)" | grep -c -e __asan_init -e __tsan_init || :)" in
0) ;;
*) exit 0 ;; # an uninstrumented program cannot load an instrumented library
esac
{
	echo '#include <stdio.h>'
	echo '#include <stdlib.h>'
	echo '#include <vine.h>'
	while read -r name; do echo "int $name(void); int $name(void) { abort(); }"; done <"$DIR/taskvine"
	echo 'int main(void) { struct vine *v; int r = vine_open(&v, "/no/such/cluster", NULL); puts(vine_error()); return r >= 0; }'
} >"$DIR/both.c"
gcc -Wall -Werror -rdynamic -o "$DIR/both" "$DIR/both.c" -I"${header%/*}" -L"${library%/*}" -lvineclient
LD_LIBRARY_PATH=${library%/*} expect 0 "$DIR/both"
contains "$DIR/out" /no/such/cluster

# The header alone, for programs in strict C and C++.
for how in "gcc -std=c99 -pedantic" "g++ -x c++ -std=c++11 -pedantic"; do
	command -v "${how%% *}" >/dev/null || continue
	printf '#include <vine.h>\nint main(void) { return 0; }\n' >"$DIR/alone.c"
	$how -Wall -Wextra -Werror -fsyntax-only -I"${header%/*}" "$DIR/alone.c" || fail "$how does not take vine.h"
done
