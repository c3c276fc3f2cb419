// Of RunService: a group of calls is one run for the pool; what its calls were is its batch's to keep.
#include "run/run_conversation.hpp"
#include "run/run_order_json.hpp"
#include "worker/call_group.hpp"

namespace fused {
namespace asio = boost::asio;
namespace {

class GroupConversation : public RunConversation {
 public:
  GroupConversation(asio::io_context& io, const RunRequest& request, std::shared_ptr<RunTicket> ticket,
                    NestedHandler& nested, std::shared_ptr<CallGroup> group)
      : RunConversation(io, request, std::move(ticket), nested), group_(std::move(group)) {}
  SteadyTime counts_since() override { return group_->running_since(); }
  void ending() override { group_->ending(); }

 private:
  std::shared_ptr<CallGroup> group_;
};

}  // namespace

asio::awaitable<Result<RunReply>> RunService::execute_group(RunRequest request, std::shared_ptr<RunTicket> ticket,
                                                            std::shared_ptr<CallGroup> group) {
  if (request.recursion > options_.recursion_max)
    co_return fail(ErrorKind::unprocessable, "functions call each other " + std::to_string(request.recursion) +
                                                 " deep; the limit is " + std::to_string(options_.recursion_max));
  const std::string run_token = tokens_.begin(run_actor(request));
  const std::string cache_secret =
      options_.cache_secrets ? options_.cache_secrets->of(request.function->organisation, request.function->owner_id)
                             : std::string();
  RunOrder order = make_run_order(request, {run_token, options_.base_url, options_.execution_environment_id,
                                            options_.worker_growth_bytes, cache_secret});
  order.group = group;
  const auto conversation = std::make_shared<GroupConversation>(io_, request, ticket, nested_, group);
  Result<RunReply> reply = co_await pool_.run(order, *ticket, *conversation);
  conversation->over();
  tokens_.end(run_token);
  co_return reply;
}

}  // namespace fused
