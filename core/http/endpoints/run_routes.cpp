#include "http/endpoints/run_routes.hpp"

#include "http/endpoints/run_log.hpp"
#include "http/endpoints/tile_pages.hpp"

namespace fused {

std::vector<Route> run_routes(RunParts& parts) {
  using enum Method;
  const std::string run = "/server/v1/realtime/{client_id}/api/v1/run/udf";
  const std::string shared = "/server/v1/realtime-shared/{token}";
  const std::string own = "/api/v1/run";
  const std::string tiles = "/tiles/{z}/{x}/{y}";
  const RunAdHoc ad_hoc{parts, false};
  const RunAdHoc start{parts, true};
  const RunSaved saved{parts};
  const RunShared by_token{parts};
  const RunRevision by_revision{parts};
  const std::string revision = "/api/v1/functions/{id}/revisions/{revision}/run";
  std::vector<Route> rows{
      {post, run + "/start", Access::run_or_user, start, "start_run"},
      {post, run + "/start" + tiles, Access::run_or_user, start, "start_tile"},
      {get, run + "/get/{run_id}", Access::run_or_user, PollRun{parts}, "poll_run"},
      {post, "/server/v1/efs/{client_id}/udf-logs", Access::run_or_user, RunOutput{parts}, "run_output"},
      {post, run, Access::run_or_user, ad_hoc, "run"},
      {post, run + tiles, Access::run_or_user, ad_hoc, "run_tile"},
      {post, "/server/v1/fused_lite/invoke/{name}", Access::run_or_user, RunLite{parts}, "run_lite"},
      {get, shared + "/tilejson.json", Access::share_path, TileJson{parts}, "shared_tilejson"},
      {get, shared + "/map", Access::share_path, PreviewMap{parts}, "shared_map"},
      {get, shared + "/map/{asset}", Access::share_path, PreviewAsset{parts}, "shared_map_asset"},
  };
  // What a browser or curl opens may be asked for by GET, and with parameters in a body by POST.
  for (const Method method : {get, post}) {
    const std::string suffix = method == post ? "_post" : "";
    rows.push_back({method, run + "/saved/{email}/{name}", Access::run_or_user, saved, "run_saved" + suffix});
    rows.push_back(
        {method, run + "/saved/{email}/{name}" + tiles, Access::run_or_user, saved, "run_saved_tile" + suffix});
    rows.push_back({method, shared + "/{leaf}", Access::share_path, by_token, "run_shared" + suffix});
    rows.push_back({method, shared + "/run/{leaf}", Access::share_path, by_token, "run_shared_file" + suffix});
    rows.push_back({method, shared + "/run" + tiles, Access::share_path, by_token, "run_shared_tile" + suffix});
    rows.push_back({method, own + "/{leaf}", Access::run_or_user, saved, "run_own" + suffix});
    rows.push_back({method, own + "/{name}" + tiles, Access::run_or_user, saved, "run_own_tile" + suffix});
    rows.push_back({method, own + "/{email}/{leaf}", Access::run_or_user, saved, "run_named" + suffix});
    rows.push_back({method, own + "/{email}/{name}" + tiles, Access::run_or_user, saved, "run_named_tile" + suffix});
    rows.push_back({method, revision, Access::run_or_user, by_revision, "run_revision" + suffix});
    rows.push_back({method, revision + "/{leaf}", Access::run_or_user, by_revision, "run_revision_file" + suffix});
    rows.push_back({method, revision + tiles, Access::run_or_user, by_revision, "run_revision_tile" + suffix});
  }
  for (Route& row : run_log_routes(parts)) rows.push_back(std::move(row));
  return rows;
}

}  // namespace fused
