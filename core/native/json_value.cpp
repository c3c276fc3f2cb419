#include "native/json_value.hpp"

#include "native/bytes.hpp"
#include "result/text.hpp"

namespace nb = nanobind;

namespace fused::native {
namespace {

class JsonValues {
 public:
  JsonValues(std::string& out, nb::handle other) : out_(out), other_(other) {}

  void append(PyObject* value, int depth) {
    if (depth > kJsonDepthMax)
      throw_error({ErrorKind::unprocessable,
                   "the value is nested deeper than " + std::to_string(kJsonDepthMax) + " levels, or contains itself",
                   ""});
    if (value == Py_None) {
      out_ += "null";
    } else if (PyUnicode_CheckExact(value)) {
      text(value);
    } else if (PyBool_Check(value)) {
      out_ += value == Py_True ? "true" : "false";
    } else if (PyLong_CheckExact(value)) {
      integer(value);
    } else if (PyFloat_CheckExact(value)) {
      result::append_json_number(out_, PyFloat_AS_DOUBLE(value));
    } else if (PyDict_CheckExact(value)) {
      object(value, depth);
    } else if (PyList_CheckExact(value) || PyTuple_CheckExact(value)) {
      sequence(value, depth);
    } else if (PyAnySet_CheckExact(value)) {
      nb::object list = nb::steal(PySequence_List(value));
      if (!list.is_valid()) throw nb::python_error();
      sequence(list.ptr(), depth);
    } else {
      unknown(value, depth);
    }
  }

 private:
  void text(PyObject* value) {
    Py_ssize_t size = 0;
    if (const char* utf8 = PyUnicode_AsUTF8AndSize(value, &size)) {
      result::append_json_string(out_, {utf8, static_cast<std::size_t>(size)});
      return;
    }
    PyErr_Clear();  // a lone surrogate: it becomes U+FFFD
    nb::object bytes = nb::steal(PyUnicode_AsEncodedString(value, "utf-8", "surrogatepass"));
    if (!bytes.is_valid()) throw nb::python_error();
    result::append_json_string(
        out_, {PyBytes_AS_STRING(bytes.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.ptr()))});
  }

  void integer(PyObject* value) {
    int overflow = 0;
    const long long small = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow == 0) {
      result::append_integer(out_, small);
      return;
    }
    nb::object digits = nb::steal(PyObject_Str(value));
    if (!digits.is_valid()) throw nb::python_error();  // more digits than Python converts
    out_ += PyUnicode_AsUTF8(digits.ptr());
  }

  // As json.dumps writes keys; anything else by its str().
  void key(PyObject* value) {
    if (PyUnicode_CheckExact(value)) {
      text(value);
      return;
    }
    if (value == Py_None || PyBool_Check(value) || PyFloat_CheckExact(value)) {
      out_ += '"';
      append(value, 0);
      out_ += '"';
      return;
    }
    nb::object name = nb::steal(PyObject_Str(value));
    if (!name.is_valid()) throw nb::python_error();
    text(name.ptr());
  }

  void object(PyObject* value, int depth) {
    out_ += '{';
    PyObject *name = nullptr, *item = nullptr;
    Py_ssize_t at = 0;
    bool first = true;
    while (PyDict_Next(value, &at, &name, &item) != 0) {
      nb::object kept_name = nb::borrow(name), kept_item = nb::borrow(item);  // `other` may run code that drops them
      if (!first) out_ += ',';
      first = false;
      key(name);
      out_ += ':';
      append(item, depth + 1);
    }
    out_ += '}';
  }

  void sequence(PyObject* value, int depth) {
    out_ += '[';
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(value); ++i) {
      if (i != 0) out_ += ',';
      nb::object item = nb::borrow(PySequence_Fast_GET_ITEM(value, i));
      append(item.ptr(), depth + 1);
    }
    out_ += ']';
  }

  void unknown(PyObject* value, int depth) {
    nb::object plain = nb::steal(PyObject_CallOneArg(other_.ptr(), value));
    if (!plain.is_valid()) throw nb::python_error();
    if (PyBytes_CheckExact(plain.ptr())) {
      out_.append(PyBytes_AS_STRING(plain.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(plain.ptr())));
    } else {
      append(plain.ptr(), depth + 1);
    }
  }

  std::string& out_;
  nb::handle other_;
};

}  // namespace

void append_json_value(std::string& out, nb::handle value, nb::handle other) {
  JsonValues(out, other).append(value.ptr(), 0);
}

}  // namespace fused::native
