// `fused serve FOLDER [--watch]`: every .py in the folder that holds @fused.udf is a function, named like its file.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <filesystem>
#include <set>

#include "functions/function_store.hpp"

namespace fused {

class ServedFolder {
 public:
  // What is handed in must outlive it.
  ServedFolder(boost::asio::io_context& io, std::filesystem::path folder, FunctionStore& functions,
               FunctionOwner owner);

  Status load();   // reads the folder; files that cannot be read are named on the log and skipped
  Status watch();  // from now on a saved, renamed or deleted file is seen at once (inotify)
  void stop();
  const std::set<std::string>& names() const { return names_; }

 private:
  void load_file(const std::filesystem::path& file);
  void forget(const std::filesystem::path& file);
  boost::asio::awaitable<void> read_events();

  boost::asio::io_context& io_;
  std::filesystem::path folder_;
  FunctionStore& functions_;
  FunctionOwner owner_;
  std::set<std::string> names_;
  boost::asio::posix::stream_descriptor events_;
};

}  // namespace fused
