// What /metrics says about HTTP. Counters are looked up once, at start; counting is an addition.
#pragma once
#include <cstdint>
#include <vector>

#include "http/router.hpp"

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
class Registry;
}  // namespace prometheus

namespace fused {

class HttpMetrics {
 public:
  HttpMetrics(prometheus::Registry& registry, const std::vector<Route>& routes);

  // `route`: index in the list, or the list's size for requests that no row answered.
  void count(std::size_t route, int status, double seconds, std::size_t bytes_in, std::size_t bytes_out);
  void set_connections(std::size_t open, std::size_t inbound_bytes, std::int64_t spooled_bytes);
  void count_refused_connection();
  void count_accept_shortage();

 private:
  struct Row {
    prometheus::Counter* by_class[6] = {};  // 1xx … 5xx; [0] is unused
    prometheus::Histogram* seconds = nullptr;
  };
  std::vector<Row> rows_;
  prometheus::Counter* bytes_in_ = nullptr;
  prometheus::Counter* bytes_out_ = nullptr;
  prometheus::Counter* refused_ = nullptr;
  prometheus::Counter* shortages_ = nullptr;
  prometheus::Gauge* spooled_ = nullptr;
  prometheus::Gauge* connections_ = nullptr;
  prometheus::Gauge* inbound_ = nullptr;
};

}  // namespace fused
