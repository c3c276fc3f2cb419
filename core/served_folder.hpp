// `fused serve FOLDER [--watch]`: every @fused.udf of a .py in the folder is a function. The one that the file would
// run is named like the file, others like themselves, each by `name=` of its decorator where it has one; `headers=` are
// read beside the file. What a file holds is told by a worker, which parses it; until the first is up a file that says
// @fused.udf is served as it is.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <set>

#include "functions/function_store.hpp"

namespace fused {

class ServedFolder {
 public:
  // Asks a worker of the owner's; gives the header of its `described` frame.
  using Describe = std::function<boost::asio::awaitable<Result<std::string>>(std::string header)>;

  // What is handed in must outlive it.
  ServedFolder(boost::asio::io_context& io, std::filesystem::path folder, FunctionStore& functions, FunctionOwner owner,
               Describe describe);

  Status load();   // reads the folder; files that cannot be read are named on the log and skipped
  Status watch();  // from now on a saved, renamed or deleted file or header is seen at once (inotify)
  void stop();
  std::set<std::string> names() const;

 private:
  struct File {
    std::map<std::string, std::string> names;  // of its functions → the key that each is stored under
    std::set<std::filesystem::path> headers;   // read, or looked for in vain
    std::uint64_t version = 0;                 // of the text that is being described
    std::uint64_t told = 0;                    // the one that the log has named
  };
  struct Wanted {
    FunctionSource source;
    std::string key;  // the file, with "#entrypoint" for all but the one it is named after
  };

  void load_file(const std::filesystem::path& file);
  boost::asio::awaitable<void> describe_pending();
  boost::asio::awaitable<Result<std::string>> ask_worker(const std::string& text);
  void take_description(const std::filesystem::path& file, const std::string& text, const boost::json::object& said);
  Result<Wanted> wanted_of(const std::filesystem::path& file, const std::string& text, const boost::json::object& udf,
                           File& state);
  boost::json::array read_headers(const std::filesystem::path& file, const boost::json::object& udf, File& state);
  void serve_as_it_is(const std::filesystem::path& file, const std::string& text);
  void serve(const std::filesystem::path& file, std::vector<Wanted> wanted);
  void forget(const std::filesystem::path& file);
  void changed(const std::filesystem::path& file, bool is_there);
  void watch_folder(const std::filesystem::path& folder);
  boost::asio::awaitable<void> read_events();

  boost::asio::io_context& io_;
  std::filesystem::path folder_;
  FunctionStore& functions_;
  FunctionOwner owner_;
  Describe describe_;
  std::map<std::filesystem::path, File> files_;
  std::map<int, std::filesystem::path> watched_;  // folders by inotify's number
  struct Pending {
    std::filesystem::path file;
    std::string text;
    std::uint64_t version;
  };
  std::deque<Pending> pending_;  // one after the other: a large folder leaves the workers to those who wait
  bool describing_ = false;
  std::uint64_t versions_ = 0;
  boost::asio::posix::stream_descriptor events_;
  boost::asio::steady_timer again_;
};

}  // namespace fused
