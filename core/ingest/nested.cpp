#include "ingest/nested.hpp"

#include <arrow/type.h>

#include <cstring>

namespace fused::ingest {
namespace {

using arrow::Type;

template <class T>
void append_raw(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}
template <class T>
T take_raw(const std::uint8_t*& at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  at += sizeof(T);
  return value;
}

template <class ListArray>
void append_list(const arrow::Array& values, std::int64_t row, std::string& out) {
  const auto& list = static_cast<const ListArray&>(values);
  const std::int64_t from = list.value_offset(row), to = list.value_offset(row + 1);
  append_raw(out, static_cast<std::uint32_t>(to - from));
  for (std::int64_t i = from; i < to; ++i) append_value(*list.values(), i, out);
}

template <class ListBuilder>
arrow::Result<const std::uint8_t*> read_list(const std::uint8_t* at, arrow::ArrayBuilder& builder) {
  auto& list = static_cast<ListBuilder&>(builder);
  ARROW_RETURN_NOT_OK(list.Append());
  const auto count = take_raw<std::uint32_t>(at);
  for (std::uint32_t i = 0; i < count; ++i) {
    ARROW_ASSIGN_OR_RAISE(at, read_value(at, *list.value_builder()));
  }
  return at;
}

template <class Builder, class T>
arrow::Result<const std::uint8_t*> read_number(const std::uint8_t* at, arrow::ArrayBuilder& builder) {
  ARROW_RETURN_NOT_OK(static_cast<Builder&>(builder).Append(take_raw<T>(at)));
  return at;
}

template <class Builder>
arrow::Result<const std::uint8_t*> read_bytes(const std::uint8_t* at, arrow::ArrayBuilder& builder) {
  const auto size = take_raw<std::uint32_t>(at);
  ARROW_RETURN_NOT_OK(static_cast<Builder&>(builder).Append(std::string_view(reinterpret_cast<const char*>(at), size)));
  return at + size;
}

}  // namespace

std::shared_ptr<arrow::DataType> plain_type(const arrow::DataType& type) {
  const auto with = [&](const std::shared_ptr<arrow::Field>& child) -> std::shared_ptr<arrow::Field> {
    auto plain = plain_type(*child->type());
    return plain ? arrow::field(child->name(), plain) : nullptr;
  };
  switch (type.id()) {
    case Type::NA: return arrow::null();
    case Type::BOOL: return arrow::boolean();
    case Type::STRING:
    case Type::BINARY: return arrow::binary();
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY: return arrow::large_binary();
    case Type::LIST:
    case Type::MAP: {
      auto child = with(type.field(0));
      return child ? arrow::list(child) : nullptr;
    }
    case Type::LARGE_LIST: {
      auto child = with(type.field(0));
      return child ? arrow::large_list(child) : nullptr;
    }
    case Type::FIXED_SIZE_LIST: {
      auto child = with(type.field(0));
      const int size = static_cast<const arrow::FixedSizeListType&>(type).list_size();
      return child ? arrow::fixed_size_list(child, size) : nullptr;
    }
    case Type::STRUCT: {
      arrow::FieldVector children;
      for (const auto& field : type.fields()) {
        children.push_back(with(field));
        if (!children.back()) return nullptr;
      }
      return arrow::struct_(children);
    }
    default: break;
  }
  if (!arrow::is_fixed_width(type.id()) || type.id() == Type::DICTIONARY) return nullptr;
  const int bits = type.bit_width();
  switch (bits) {
    case 8: return arrow::uint8();
    case 16: return arrow::uint16();
    case 32: return arrow::uint32();
    case 64: return arrow::uint64();
    default: return bits % 8 == 0 ? arrow::fixed_size_binary(bits / 8) : nullptr;
  }
}

std::shared_ptr<arrow::ArrayData> retyped(const std::shared_ptr<arrow::ArrayData>& data,
                                          const std::shared_ptr<arrow::DataType>& type) {
  auto copy = std::make_shared<arrow::ArrayData>(*data);
  copy->type = type;
  for (std::size_t i = 0; i < copy->child_data.size(); ++i)
    copy->child_data[i] = retyped(copy->child_data[i], type->field(static_cast<int>(i))->type());
  return copy;
}

void append_value(const arrow::Array& values, std::int64_t row, std::string& out) {
  if (values.type_id() == Type::NA) return;
  const bool valid = values.IsValid(row);
  out += static_cast<char>(valid);
  if (!valid) return;
  switch (values.type_id()) {
    case Type::BOOL: out += static_cast<char>(static_cast<const arrow::BooleanArray&>(values).Value(row)); return;
    case Type::BINARY:
    case Type::LARGE_BINARY: {
      const std::string_view bytes = values.type_id() == Type::BINARY
                                         ? static_cast<const arrow::BinaryArray&>(values).GetView(row)
                                         : static_cast<const arrow::LargeBinaryArray&>(values).GetView(row);
      append_raw(out, static_cast<std::uint32_t>(bytes.size()));
      out += bytes;
      return;
    }
    case Type::LIST: return append_list<arrow::ListArray>(values, row, out);
    case Type::LARGE_LIST: return append_list<arrow::LargeListArray>(values, row, out);
    case Type::FIXED_SIZE_LIST: {
      const auto& list = static_cast<const arrow::FixedSizeListArray&>(values);
      for (std::int64_t i = 0; i < list.list_type()->list_size(); ++i)
        append_value(*list.values(), list.value_offset(row) + i, out);
      return;
    }
    case Type::STRUCT: {
      const auto& parts = static_cast<const arrow::StructArray&>(values);
      for (int i = 0; i < parts.num_fields(); ++i) append_value(*parts.field(i), row, out);
      return;
    }
    default: break;
  }
  const auto width =
      static_cast<std::size_t>(static_cast<const arrow::FixedWidthType&>(*values.type()).bit_width() / 8);
  const auto* bytes = values.data()->GetValues<std::uint8_t>(1, 0);
  out.append(reinterpret_cast<const char*>(bytes) + static_cast<std::size_t>(values.offset() + row) * width, width);
}

arrow::Result<const std::uint8_t*> read_value(const std::uint8_t* at, arrow::ArrayBuilder& builder) {
  const Type::type id = builder.type()->id();
  if (id == Type::NA || *at++ == 0) {
    ARROW_RETURN_NOT_OK(builder.AppendNull());
    return at;
  }
  switch (id) {
    case Type::BOOL: return read_number<arrow::BooleanBuilder, bool>(at, builder);
    case Type::UINT8: return read_number<arrow::UInt8Builder, std::uint8_t>(at, builder);
    case Type::UINT16: return read_number<arrow::UInt16Builder, std::uint16_t>(at, builder);
    case Type::UINT32: return read_number<arrow::UInt32Builder, std::uint32_t>(at, builder);
    case Type::UINT64: return read_number<arrow::UInt64Builder, std::uint64_t>(at, builder);
    case Type::BINARY: return read_bytes<arrow::BinaryBuilder>(at, builder);
    case Type::LARGE_BINARY: return read_bytes<arrow::LargeBinaryBuilder>(at, builder);
    case Type::LIST: return read_list<arrow::ListBuilder>(at, builder);
    case Type::LARGE_LIST: return read_list<arrow::LargeListBuilder>(at, builder);
    case Type::FIXED_SIZE_BINARY: {
      auto& fixed = static_cast<arrow::FixedSizeBinaryBuilder&>(builder);
      ARROW_RETURN_NOT_OK(fixed.Append(at));
      return at + fixed.byte_width();
    }
    case Type::FIXED_SIZE_LIST: {
      auto& list = static_cast<arrow::FixedSizeListBuilder&>(builder);
      ARROW_RETURN_NOT_OK(list.Append());
      const int size = static_cast<const arrow::FixedSizeListType&>(*list.type()).list_size();
      for (int i = 0; i < size; ++i) {
        ARROW_ASSIGN_OR_RAISE(at, read_value(at, *list.value_builder()));
      }
      return at;
    }
    case Type::STRUCT: {
      auto& parts = static_cast<arrow::StructBuilder&>(builder);
      ARROW_RETURN_NOT_OK(parts.Append());
      for (int i = 0; i < parts.num_fields(); ++i) {
        ARROW_ASSIGN_OR_RAISE(at, read_value(at, *parts.field_builder(i)));
      }
      return at;
    }
    default: return arrow::Status::Invalid("a nested value of type ", builder.type()->ToString());
  }
}

}  // namespace fused::ingest
