#include "native/bytes.hpp"

namespace nb = nanobind;

namespace fused::native {
namespace {

constexpr std::size_t kCopyBytesMax = 4'096;

struct ResultBytes {
  std::shared_ptr<arrow::Buffer> buffer;
};

struct EncodeError : std::runtime_error {
  explicit EncodeError(const Error& error) : std::runtime_error(error.message), kind(error_type(error.kind)) {}
  std::string kind;
};

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  const auto& bytes = *nb::inst_ptr<ResultBytes>(nb::handle(self));
  return PyBuffer_FillInfo(view, self, const_cast<std::uint8_t*>(bytes.buffer->data()), bytes.buffer->size(), 1, flags);
}

PyType_Slot kSlots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)}, {0, nullptr}};

}  // namespace

void bind_bytes(nb::module_& module) {
  nb::class_<ResultBytes>(module, "ResultBytes", nb::type_slots(kSlots));
  // The message's first line is the kind, so that no Python attribute has to be set from C++.
  static PyObject* error_type = PyErr_NewException("fused._native.EncodeError", PyExc_Exception, nullptr);
  module.attr("EncodeError") = nb::handle(error_type);
  nb::register_exception_translator(
      [](const std::exception_ptr& pointer, void*) {
        try {
          std::rethrow_exception(pointer);
        } catch (const EncodeError& error) {
          const nb::tuple arguments = nb::make_tuple(error.kind.c_str(), error.what());
          PyErr_SetObject(error_type, arguments.ptr());
        }
      },
      nullptr);
}

nb::object to_python(std::shared_ptr<arrow::Buffer> buffer) {
  if (static_cast<std::size_t>(buffer->size()) <= kCopyBytesMax)
    return nb::bytes(buffer->data(), static_cast<std::size_t>(buffer->size()));
  nb::object owner = nb::cast(ResultBytes{std::move(buffer)});
  return nb::steal(PyMemoryView_FromObject(owner.ptr()));
}

nb::object to_python(std::string&& text) {
  if (text.size() <= kCopyBytesMax) return nb::bytes(text.data(), text.size());
  return to_python(arrow::Buffer::FromString(std::move(text)));
}

void throw_error(const Error& error) { throw EncodeError(error); }

}  // namespace fused::native
