// The server as one thing: its parts in the order in which they are built, which is the order in which they may use
// each other; they end in the reverse order.
#pragma once
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>

#include "base/result.hpp"
#include "base/settings.hpp"

namespace fused {

class Application {
 public:
  // Opens the data folder and listens; ready when it returns (workers come up behind it). Errors say what to do.
  static Result<std::unique_ptr<Application>> start(boost::asio::io_context& io, const Settings& settings);
  ~Application();

  void begin_stop();        // drains, then lets the io_context run out
  bool has_failed() const;  // it stops by itself: what it has logged says why
  static std::string routes_text();

 private:
  struct Everything;
  static void stop(Everything& all);
  explicit Application(std::unique_ptr<Everything> all);
  std::unique_ptr<Everything> all_;
};

}  // namespace fused
