#include "http/http_metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include "http/metric_list.hpp"

namespace fused {

HttpMetrics::HttpMetrics(prometheus::Registry& registry, const std::vector<Route>& routes) {
  const auto counter = [&](const MetricName& m) -> prometheus::Family<prometheus::Counter>& {
    return prometheus::BuildCounter().Name(std::string(m.name)).Help(std::string(m.help)).Register(registry);
  };
  const auto gauge = [&](const MetricName& m) {
    return &prometheus::BuildGauge().Name(std::string(m.name)).Help(std::string(m.help)).Register(registry).Add({});
  };
  auto& requests = counter(metric::kRequests);
  auto& seconds = prometheus::BuildHistogram()
                      .Name(std::string(metric::kRequestSeconds.name))
                      .Help(std::string(metric::kRequestSeconds.help))
                      .Register(registry);
  const prometheus::Histogram::BucketBoundaries bounds{0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05,
                                                       0.1,    0.25,  0.5,   1,     2.5,  10,    60};
  const auto add_row = [&](const std::string& operation) {
    Row row;
    for (int i = 2; i <= 5; ++i)
      row.by_class[i] = &requests.Add({{"operation", operation}, {"status", std::to_string(i) + "xx"}});
    row.seconds = &seconds.Add({{"operation", operation}}, bounds);
    rows_.push_back(row);
  };
  for (const auto& route : routes)
    add_row(route.operation_id.empty() ? std::string(method_name(route.method)) + " " + route.pattern
                                       : route.operation_id);
  add_row("none");
  auto& bytes = counter(metric::kBodyBytes);
  bytes_in_ = &bytes.Add({{"direction", "in"}});
  bytes_out_ = &bytes.Add({{"direction", "out"}});
  refused_ = &counter(metric::kRefusedConnections).Add({});
  shortages_ = &counter(metric::kAcceptShortages).Add({});
  connections_ = gauge(metric::kConnections);
  inbound_ = gauge(metric::kInboundBytes);
  spooled_ = gauge(metric::kSpooledBytes);
}

void HttpMetrics::count(std::size_t route, int status, double seconds, std::size_t bytes_in, std::size_t bytes_out) {
  const Row& row = rows_[std::min(route, rows_.size() - 1)];
  if (auto* counter = row.by_class[std::clamp(status / 100, 2, 5)]) counter->Increment();
  row.seconds->Observe(seconds);
  if (bytes_in > 0) bytes_in_->Increment(static_cast<double>(bytes_in));
  bytes_out_->Increment(static_cast<double>(bytes_out));
}

void HttpMetrics::set_connections(std::size_t open, std::size_t inbound_bytes, std::int64_t spooled_bytes) {
  spooled_->Set(static_cast<double>(spooled_bytes));
  connections_->Set(static_cast<double>(open));
  inbound_->Set(static_cast<double>(inbound_bytes));
}

void HttpMetrics::count_refused_connection() { refused_->Increment(); }
void HttpMetrics::count_accept_shortage() { shortages_->Increment(); }

}  // namespace fused
