#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>
#include <sys/resource.h>

#include "native/fingerprint.hpp"

namespace nb = nanobind;

namespace fused::native {
namespace {

// Which of many dictionaries were written to since they were last looked at. Before Python 3.12 a dictionary carries a
// number that changes with every write; later its entries are compared one by one, by identity.
class WatchedDicts {
 public:
  int watch(nb::dict dict) {
    entries_.push_back({dict, {}, {}});
    rebase(static_cast<int>(entries_.size()) - 1);
    return static_cast<int>(entries_.size()) - 1;
  }

  void rebase(int index) {
    auto& entry = entries_.at(static_cast<std::size_t>(index));
#if PY_VERSION_HEX < 0x030C0000
    tags_.resize(entries_.size());
    tags_[static_cast<std::size_t>(index)] = {entry.dict.ptr(), tag(entry.dict.ptr())};
#else
    entry.seen.clear();
    entry.held.clear();
    PyObject *key = nullptr, *value = nullptr;
    for (Py_ssize_t at = 0; PyDict_Next(entry.dict.ptr(), &at, &key, &value);) {
      entry.held.push_back(nb::borrow(key));  // held, so that no new object gets an old one's address
      entry.held.push_back(nb::borrow(value));
      entry.seen.push_back(key);
      entry.seen.push_back(value);
    }
#endif
  }

  std::vector<int> changed() const {
    std::vector<int> found;
#if PY_VERSION_HEX < 0x030C0000
    for (std::size_t index = 0; index < tags_.size(); ++index)
      if (tag(tags_[index].dict) != tags_[index].tag) found.push_back(static_cast<int>(index));
#else
    for (std::size_t index = 0; index < entries_.size(); ++index)
      if (differs(entries_[index])) found.push_back(static_cast<int>(index));
#endif
    return found;
  }

  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    nb::dict dict;
    std::vector<PyObject*> seen;
    std::vector<nb::object> held;
  };
#if PY_VERSION_HEX < 0x030C0000
  struct Tag {
    PyObject* dict;
    std::uint64_t tag;
  };
  static std::uint64_t tag(PyObject* dict) { return reinterpret_cast<PyDictObject*>(dict)->ma_version_tag; }
  std::vector<Tag> tags_;
#else
  static bool differs(const Entry& entry) {
    PyObject *key = nullptr, *value = nullptr;
    std::size_t at_seen = 0;
    for (Py_ssize_t at = 0; PyDict_Next(entry.dict.ptr(), &at, &key, &value); at_seen += 2)
      if (at_seen + 1 >= entry.seen.size() || entry.seen[at_seen] != key || entry.seen[at_seen + 1] != value)
        return true;
    return at_seen != entry.seen.size();
  }
#endif
  std::vector<Entry> entries_;
};

// What functions without arguments answer, what attributes hold and what lists hold, compared with what they did. Never
// calls a method of a class that is not the interpreter's own: a function could make anything equal.
class WatchedValues {
 public:
  void take(nb::list calls, nb::list attributes, nb::list lists) {
    calls_.clear();
    attributes_.clear();
    lists_.clear();
    for (nb::handle call : calls) calls_.push_back({nb::borrow(call), call()});
    for (nb::handle pair : attributes) {
      nb::object owner = pair[0], name = pair[1], value = nb::getattr(owner, name);
      attributes_.push_back({std::move(owner), std::move(name), std::move(value)});
    }
    for (nb::handle list : lists) lists_.push_back({nb::borrow<nb::list>(list), nb::tuple(nb::borrow(list))});
  }

  bool are_same() const {
    for (const auto& [call, before] : calls_) {
      const nb::object now = nb::steal(PyObject_CallNoArgs(call.ptr()));
      if (!is_same(now.ptr(), before.ptr())) return false;
    }
    for (const auto& [owner, name, before] : attributes_) {
      const nb::object now = nb::steal(PyObject_GetAttr(owner.ptr(), name.ptr()));
      if (!is_same(now.ptr(), before.ptr())) return false;
    }
    for (const auto& [list, before] : lists_) {
      if (PyList_GET_SIZE(list.ptr()) != PyTuple_GET_SIZE(before.ptr())) return false;
      for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(before.ptr()); ++at)
        if (!is_same(PyList_GET_ITEM(list.ptr(), at), PyTuple_GET_ITEM(before.ptr(), at))) return false;
    }
    return true;
  }

 private:
  static bool is_same(PyObject* now, PyObject* before) {
    if (now == before) return true;
    if (now == nullptr) {
      PyErr_Clear();  // the attribute was deleted
      return false;
    }
    if (Py_TYPE(now) != Py_TYPE(before)) return false;
    if (PyTuple_Check(now)) {
      if (PyTuple_GET_SIZE(now) != PyTuple_GET_SIZE(before)) return false;
      for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(now); ++at)
        if (!is_same(PyTuple_GET_ITEM(now, at), PyTuple_GET_ITEM(before, at))) return false;
      return true;
    }
    if (!PyLong_CheckExact(now) && !PyFloat_CheckExact(now) && !PyUnicode_CheckExact(now)) return false;
    return PyObject_RichCompareBool(now, before, Py_EQ) == 1;
  }

  struct Call {
    nb::object call, before;
  };
  struct Attribute {
    nb::object owner, name, before;
  };
  struct List {
    nb::list list;
    nb::tuple before;
  };
  std::vector<Call> calls_;
  std::vector<Attribute> attributes_;
  std::vector<List> lists_;
};

// The keys under which two dictionaries do not hold the same object. Touches no reference count of what is the same: in
// a forked process each would cost a page of memory.
nb::list differing_keys(nb::dict now, nb::dict before) {
  nb::list keys;
  PyObject *key = nullptr, *value = nullptr;
  for (Py_ssize_t at = 0; PyDict_Next(before.ptr(), &at, &key, &value);)
    if (PyDict_GetItemWithError(now.ptr(), key) != value) keys.append(nb::borrow(key));
  for (Py_ssize_t at = 0; PyDict_Next(now.ptr(), &at, &key, &value);)
    if (PyDict_Contains(before.ptr(), key) == 0) keys.append(nb::borrow(key));
  if (PyErr_Occurred()) nb::raise_python_error();
  return keys;
}

}  // namespace

void bind_fingerprint(nb::module_& module) {
  nb::class_<ProcessState>(module, "ProcessState")
      .def(
          "__init__",
          [](ProcessState* self, int stat, int status, int task_folder, int descriptor_folder,
             std::vector<int> own_folders) {
            new (self) ProcessState({stat, status, task_folder, descriptor_folder, std::move(own_folders)});
          },
          nb::arg("stat"), nb::arg("status"), nb::arg("task_folder"), nb::arg("descriptor_folder"),
          nb::arg("own_folders"))
      .def("watch_memory", &ProcessState::watch_memory)
      .def("take", &ProcessState::take)
      .def("check", &ProcessState::check)
      .def("restore", &ProcessState::restore);
  nb::class_<WatchedDicts>(module, "WatchedDicts")
      .def(nb::init<>())
      .def("watch", &WatchedDicts::watch)
      .def("rebase", &WatchedDicts::rebase)
      .def("changed", &WatchedDicts::changed)
      .def("__len__", &WatchedDicts::size);
  nb::class_<WatchedValues>(module, "WatchedValues")
      .def(nb::init<>())
      .def("take", &WatchedValues::take, nb::arg("calls"), nb::arg("attributes"), nb::arg("lists"))
      .def("are_same", &WatchedValues::are_same);
  module.def(
      "peak_memory",
      [] {
        rusage usage{};
        ::getrusage(RUSAGE_SELF, &usage);
        return usage.ru_maxrss << 10;
      },
      "The most that this process held resident, in bytes, since that was last reset.");
  module.def("differing_keys", differing_keys, nb::arg("now"), nb::arg("before"));
}

}  // namespace fused::native
