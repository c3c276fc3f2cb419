// The one thread that writes the state database and fsyncs for it, so that the event loop never waits for a disk.
#pragma once
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <type_traits>
#include <utility>

namespace fused {

class StateThread {
 public:
  StateThread() : thread_(1) {}
  ~StateThread() { finish(); }

  // Runs `work` on the thread, in the order of the calls, and resumes the caller where it waited. `work` must not
  // throw. What it has begun is finished even when the waiting coroutine is gone: it must own what it uses or refer to
  // stores that outlive the thread.
  template <class F, class R = std::invoke_result_t<F>>
  boost::asio::awaitable<R> run(F work) {
    co_return co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>&, void(R)>(
        [this](auto handler, F job) {
          auto executor = boost::asio::get_associated_executor(handler);
          boost::asio::post(thread_, [handler = std::move(handler), job = std::move(job),
                                      guard = boost::asio::make_work_guard(executor)]() mutable {
            boost::asio::post(guard.get_executor(), [handler = std::move(handler), value = job()]() mutable {
              std::move(handler)(std::move(value));
            });
          });
        },
        boost::asio::use_awaitable, std::move(work));
  }

  // The same for who does not wait. Any thread.
  template <class F>
  void post(F work) {
    boost::asio::post(thread_, std::move(work));
  }

  // Waits for what is queued; nothing may be queued after it. Called at the end, before the stores go.
  void finish() { thread_.join(); }

 private:
  boost::asio::thread_pool thread_;
};

}  // namespace fused
