// Python face of entry files and their locks (core/cache/entry_file.hpp, entry_lock.hpp). The GIL is not held while
// files are read, checked, written or waited for.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <optional>

#include "cache/entry_file.hpp"
#include "cache/entry_lock.hpp"

namespace nb = nanobind;

namespace fused::native {
namespace {

VerifiedFiles& verified() {
  static VerifiedFiles files;
  return files;
}

// How Python lays out a pickle (python/fused/_cache/values.py): u64 n, n sizes, the pickle at the next multiple of 64,
// then its large buffers. What is run when it is read ends with the pickle.
std::size_t pickle_bytes(std::uint32_t kind, std::string_view body) {
  constexpr std::uint32_t kPickle = 6, kFailure = 7;
  if (kind != kPickle && kind != kFailure) return 0;
  std::uint64_t count = 0, first = 0;
  if (body.size() < 16) return body.size();
  std::memcpy(&count, body.data(), 8);
  std::memcpy(&first, body.data() + 8, 8);
  if (count == 0 || count >= body.size() / 8 || first > body.size()) return body.size();
  const std::size_t begin = (8 * (count + 1) + kEntryAlignment - 1) / kEntryAlignment * kEntryAlignment;
  return std::min<std::size_t>(begin + first, body.size());
}

template <std::size_t size>
std::array<unsigned char, size> exactly(const nb::bytes& given, const char* what) {
  std::array<unsigned char, size> out;
  if (given.size() != size)
    throw nb::value_error(
        (std::string(what) + " has " + std::to_string(given.size()) + " bytes instead of " + std::to_string(size))
            .c_str());
  std::memcpy(out.data(), given.c_str(), size);
  return out;
}
template <std::size_t size>
nb::bytes to_bytes(const std::array<unsigned char, size>& bytes) {
  return nb::bytes(bytes.data(), bytes.size());
}

// As os.open takes it: text, bytes or a path object.
std::string path_of(nb::handle given) {
  PyObject* bytes = nullptr;
  if (PyUnicode_FSConverter(given.ptr(), &bytes) == 0) throw nb::python_error();
  const nb::bytes held = nb::steal<nb::bytes>(bytes);
  return {held.c_str(), held.size()};
}

PyObject* damaged_type = nullptr;

[[noreturn]] void raise_errno(int error_number, const std::string& path) {
  errno = error_number;
  PyErr_SetFromErrnoWithFilename(PyExc_OSError, path.c_str());
  throw nb::python_error();
}
[[noreturn]] void raise(const EntryError& error, const std::string& path) {
  if (error.kind == EntryError::Kind::system) raise_errno(error.error_number, path);
  PyErr_SetString(damaged_type, error.message.c_str());
  throw nb::python_error();
}
bool is_nothing(const EntryError& error) {
  return error.kind == EntryError::Kind::missing || error.kind == EntryError::Kind::older;
}

template <class Call>
auto without_gil(Call&& call) {
  nb::gil_scoped_release release;
  return call();
}

// ── bodies: writable, and alive as long as any view of them ──

struct EntryBody {
  std::span<char> bytes;
  std::shared_ptr<void> owner;
};

int body_buffer(PyObject* self, Py_buffer* view, int flags) {
  const auto& body = *nb::inst_ptr<EntryBody>(nb::handle(self));
  return PyBuffer_FillInfo(view, self, body.bytes.data(), static_cast<Py_ssize_t>(body.bytes.size()), 0, flags);
}
PyType_Slot kBodySlots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(body_buffer)}, {0, nullptr}};

nb::object memory_view(EntryFile& file) {
  const nb::object body = nb::cast(EntryBody{file.body, file.owner});
  return nb::steal(PyMemoryView_FromObject(body.ptr()));
}

// ── reading ──

nb::object entry_read(nb::handle given, std::optional<nb::bytes> key, std::optional<nb::bytes> check_key, bool again) {
  const std::string path = path_of(given);
  Digest wanted;
  CheckKey check;
  EntryReading how;
  if (key) {
    wanted.bytes = exactly<32>(*key, "key");
    how.key = &wanted;
  }
  if (check_key) {
    check = exactly<32>(*check_key, "check_key");
    how.check_key = &check;
  } else {
    how.check = EntryCheck::xxh3;  // the server's own, which need no key
  }
  if (!again) how.verified = &verified();
  how.own_bytes = pickle_bytes;
  auto file = without_gil([&] { return read_entry_file(path, how); });
  if (!file && is_nothing(file.error())) return nb::none();
  if (!file) raise(file.error(), path);
  return nb::cast(*std::move(file));
}

nb::object entry_look(nb::handle given) {
  const std::string path = path_of(given);
  auto found = without_gil([&] { return look_at_entry_file(path); });
  if (!found && found.error().kind == EntryError::Kind::missing) return nb::none();
  if (!found) raise(found.error(), path);
  return nb::cast(*std::move(found));
}

std::optional<FileState> file_state(nb::handle given) {
  const std::string path = path_of(given);
  struct stat found{};
  return ::lstat(path.c_str(), &found) == 0 ? std::optional(state_of(found)) : std::nullopt;
}

nb::object file_state_or_none(nb::handle path) {
  const auto state = file_state(path);
  return state ? nb::cast(*state) : nb::none();
}

// ── writing ──

class Buffers {
 public:
  explicit Buffers(const nb::sequence& parts) {
    held_.reserve(nb::len(parts));
    for (const nb::handle part : parts) {
      Py_buffer view;
      if (PyObject_GetBuffer(part.ptr(), &view, PyBUF_SIMPLE) != 0) throw nb::python_error();
      held_.push_back(view);
      views.emplace_back(static_cast<const char*>(view.buf), static_cast<std::size_t>(view.len));
    }
  }
  ~Buffers() {
    for (auto& view : held_) PyBuffer_Release(&view);
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;
  std::vector<std::string_view> views;

 private:
  std::vector<Py_buffer> held_;
};

void entry_write(nb::handle path, nb::handle draft, const nb::bytes& check_key, std::uint32_t kind,
                 std::int64_t created_ns, std::int64_t boot_ns, const nb::bytes& boot_id, std::uint64_t max_age_s,
                 std::uint64_t computing_ns, const nb::bytes& key, const nb::bytes& note, const nb::sequence& parts) {
  const auto check = exactly<32>(check_key, "check_key");
  EntryFileHead head;
  head.kind = kind;
  head.created_ns = created_ns;
  head.boot_ns = boot_ns;
  head.boot_id = exactly<16>(boot_id, "boot_id");
  head.max_age_s = max_age_s;
  head.computing_ns = computing_ns;
  head.key.bytes = exactly<32>(key, "key");
  EntryWriting to;
  to.path = path_of(path);
  to.draft = path_of(draft);
  to.check_key = &check;
  const Buffers body(parts);
  const std::string_view text(note.c_str(), note.size());
  const auto written = without_gil([&] { return write_entry_file(to, head, text, body.views); });
  if (!written) raise(written.error(), to.path);
}

// ── locks ──

bool acquired(EntryLock& lock) {
  const int error = without_gil([&] { return lock.try_acquire(); });
  if (error == EAGAIN) return false;
  if (error != 0) raise_errno(error, lock.path());
  return true;
}

std::unique_ptr<LockWait> begin_wait(const EntryLock& lock) {
  auto wait = without_gil([&] { return LockWait::begin(lock.path(), lock.byte()); });
  if (!wait) raise_errno(wait.error(), lock.path());
  return *std::move(wait);
}

// True once nobody holds the lock; False after `seconds`. Ctrl-C and other handlers run meanwhile.
bool wait_for(const LockWait& wait, double seconds) {
  const auto now = [] {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  const double deadline = now() + seconds;
  while (true) {
    const double left = std::clamp(deadline - now(), 0.0, 3600.0);
    const int at_most = static_cast<int>(std::ceil(left * 1000));
    const auto outcome = without_gil([&] { return wait.wait_ms(at_most); });
    if (outcome == LockWait::Outcome::over) return true;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (outcome == LockWait::Outcome::timed_out && now() >= deadline) return false;
  }
}

void bind_files(nb::module_& module) {
  nb::class_<EntryFileHead>(module, "EntryHead")
      .def_ro("kind", &EntryFileHead::kind)
      .def_ro("note_bytes", &EntryFileHead::note_bytes)
      .def_ro("body_offset", &EntryFileHead::body_offset)
      .def_ro("body_bytes", &EntryFileHead::body_bytes)
      .def_ro("created_ns", &EntryFileHead::created_ns)
      .def_ro("boot_ns", &EntryFileHead::boot_ns)
      .def_ro("max_age_s", &EntryFileHead::max_age_s)
      .def_ro("computing_ns", &EntryFileHead::computing_ns)
      .def_prop_ro("by_server", [](const EntryFileHead& h) { return h.writer == EntryWriter::result_cache; })
      .def_prop_ro("needs_key", [](const EntryFileHead& h) { return h.check == EntryCheck::blake3; })
      .def_prop_ro("boot_id", [](const EntryFileHead& h) { return to_bytes(h.boot_id); })
      .def_prop_ro("key", [](const EntryFileHead& h) { return to_bytes(h.key.bytes); })
      .def("__eq__", [](const EntryFileHead& h, const EntryFileHead& other) { return h == other; });
  nb::class_<FileState>(module, "FileState")
      .def_ro("size", &FileState::size)
      .def_ro("mtime_ns", &FileState::mtime_ns)
      .def_prop_ro("is_settled", &FileState::is_settled)
      .def("__eq__", [](const FileState& state, const FileState& other) { return state == other; });
  nb::class_<EntryBody>(module, "EntryBody", nb::type_slots(kBodySlots));
  nb::class_<EntryFile>(module, "EntryFile")
      .def_ro("head", &EntryFile::head)
      .def_ro("state", &EntryFile::state)
      .def_prop_ro("note", [](const EntryFile& file) { return nb::bytes(file.note.data(), file.note.size()); })
      .def_prop_ro("body", memory_view);
  nb::class_<EntrySummary>(module, "EntrySummary")
      .def_prop_ro(
          "head", [](const EntrySummary& found) { return found.head ? nb::cast(*found.head) : nb::none(); },
          "None: of a format before this one.")
      .def_ro("state", &EntrySummary::state)
      .def_ro("used_ns", &EntrySummary::used_ns)
      .def_prop_ro("note", [](const EntrySummary& found) { return nb::bytes(found.note.data(), found.note.size()); });
  damaged_type = PyErr_NewException("fused._native.EntryDamaged", PyExc_Exception, nullptr);
  module.attr("EntryDamaged") = nb::handle(damaged_type);
  module.attr("ENTRY_HEAD_BYTES") = kEntryHeadBytes;
  module.attr("ENTRY_READ_WHOLE_MAX") = kEntryReadWholeMax;
  module.def("entry_read", entry_read, nb::arg("path"), nb::arg("key").none(), nb::arg("check_key").none(),
             nb::arg("again") = false,
             "The entry; None when there is none or one of an earlier format. EntryDamaged for what does not pass. "
             "again: its body is checked although this process has seen the file pass.");
  module.def("entry_look", entry_look, nb::arg("path"), "What a listing shows of an entry; None when there is none.");
  module.def("entry_is_verified", [](nb::handle path) {
    const auto state = file_state(path);
    return state && verified().find(*state);
  });
  module.def("entry_write", entry_write, nb::arg("path"), nb::arg("draft"), nb::arg("check_key"), nb::arg("kind"),
             nb::arg("created_ns"), nb::arg("boot_ns"), nb::arg("boot_id"), nb::arg("max_age_s"),
             nb::arg("computing_ns"), nb::arg("key"), nb::arg("note"), nb::arg("parts"),
             "Writes an entry to draft and renames it to path.");
  module.def("file_state", file_state_or_none, nb::arg("path"),
             "Of the path itself, if it is a link; None: not there.");
}

void bind_locks(nb::module_& module) {
  nb::class_<LockWait>(module, "LockWait", "Over once nobody holds the lock.")
      .def("fileno", &LockWait::descriptor, "Readable once it is over.")
      .def("wait", wait_for, nb::arg("seconds"), "False when it is not over after so long.");
  nb::class_<EntryLock>(module, "EntryLock", "The lock of one entry; freed by the kernel with its holder.")
      .def("__init__",
           [](EntryLock* lock, nb::handle path, std::uint64_t byte) { new (lock) EntryLock(path_of(path), byte); })
      .def("try_acquire", acquired, "True when it is ours now; OSError where there are no locks.")
      .def(
          "share", [](EntryLock& lock) { return lock.share() == 0; }, "Those who wait look again.")
      .def("release", &EntryLock::release, nb::call_guard<nb::gil_scoped_release>())
      .def("begin_wait", begin_wait);
}

}  // namespace

void bind_cache(nb::module_& module) {
  bind_files(module);
  bind_locks(module);
}

}  // namespace fused::native
