// Files with equal content stored once: the code snapshot of equal code, and the empty stream. They lie in the place
// aside and are hard-linked into run folders, which costs no inode and half the time. Used on the folder thread only.
#pragma once
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.hpp"
#include "logs/log_tree.hpp"

namespace fused {

struct SharedFileOptions {
  std::uint32_t links_max = 60'000;  // ext4 allows 65,000; then a fresh file takes over
  std::size_t files_max = 1'024;     // the longest unused makes room
};

class SharedFiles {
 public:
  SharedFiles(const LogTree& tree, SharedFileOptions options) : tree_(tree), options_(options) {}

  // Makes `path` (relative to `folder`) a link to the file of `key`, which is made with `content()` where there is
  // none, where its links are used up or where its size is not that of the content any more. Where the file system has
  // no hard links it becomes a file of its own. EEXIST is an error.
  template <class Content>
  Status link(const std::string& key, int folder, const char* path, Content&& content) {
    const auto known = files_.find(key);
    if (known != files_.end() && may_link(known->second)) return link_known(known->second, folder, path);
    return link_fresh(key, folder, path, content());
  }
  // The inode that link(key) would use now; 0 when it would make a file.
  std::uint64_t inode_of(const std::string& key) const;
  void forget_all();  // begins anew; call it before the place aside is opened anew

  std::uint64_t made() const { return made_; }

 private:
  struct File {
    std::string name;
    std::uint64_t inode = 0;
    std::uint64_t size = 0;
    std::uint32_t links = 0;
    std::list<std::string>::iterator used;
  };
  bool may_link(const File& file) const;
  Status link_known(File& file, int folder, const char* path);
  Status link_fresh(const std::string& key, int folder, const char* path, std::string_view content);
  void drop(const std::string& key);

  const LogTree& tree_;
  SharedFileOptions options_;
  bool links_work_ = true;
  std::unordered_map<std::string, File> files_;
  std::list<std::string> used_;  // keys, most recent first
  std::uint64_t made_ = 0;
};

// Makes a file that must not exist. On failure nothing of it is left.
Status write_new_file(int folder, const char* path, std::string_view content, unsigned mode);

}  // namespace fused
