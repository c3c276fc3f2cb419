// Where the tasks of a job with output_table (python/fused/_jobs/output_table.py) leave their parts: a folder beside
// the table, with one below it for each job that makes parts, named by its id. The last step removes it. Of a job that
// failed or was canceled it stays: a retry makes only what is missing. It goes with the last job that could use it.
#pragma once
#include <string>
#include <string_view>

#include "jobs/job_config.hpp"
#include "storage/data_folder.hpp"

namespace fused {

// The folder as the job's config names it ("/mount/towns.parts-4f0c…", "s3://…"); "" for a job without output_table.
std::string parts_folder_of(const JobConfig& config);

// For people, of a folder that is not "".
std::string parts_note(std::string_view folder, const DataFolder& data);

// Removes what jobs have made below a folder on /mount, and the folder when nothing else lies in it. Nothing is done
// for a folder elsewhere, which only functions reach, and for one that is gone. May take long; any thread.
Status remove_parts(const DataFolder& data, std::string_view folder);

}  // namespace fused
