#include "base/log.hpp"

#include <spdlog/formatter.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <cerrno>
#include <charconv>
#include <mutex>

#include "base/clock.hpp"
#include "base/text.hpp"

namespace fused {
namespace {

constexpr std::size_t kBufferBytes = 32 << 10;
// A payload that log_event has made ready begins with this; no text from outside can, for it is escaped.
constexpr char kReady = '\x01';
bool json_lines = false;  // set once by start_log, before other threads log

void append_json_text(std::string& out, std::string_view text) {
  out.append(boost::json::serialize(boost::json::value(boost::json::string_view(text))));
}

class LineFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
    const std::string_view payload(message.payload.data(), message.payload.size());
    const auto level = spdlog::level::to_string_view(message.level);
    const std::string_view level_name(level.data(), level.size());
    const auto second = std::chrono::floor<std::chrono::seconds>(message.time);
    if (second != second_) {
      second_ = second;
      stamp_ = format_utc(second).substr(0, 19);
    }
    char fraction[8];
    const auto micros =
        std::chrono::duration_cast<std::chrono::microseconds>(message.time - second).count() + 1'000'000;
    std::to_chars(fraction, fraction + sizeof fraction, micros);
    fraction[0] = '.';
    text_.clear();
    const bool ready = payload.starts_with(kReady);
    if (json_lines) {
      text_.append("{\"time\":\"").append(stamp_).append(fraction, 7).append("Z\",\"level\":\"").append(level_name);
      text_.append("\",");
      if (ready) {
        text_.append(payload.substr(1));
      } else {
        text_.append("\"event\":");
        append_json_text(text_, printable(redacted(payload)));
      }
      text_.append("}\n");
    } else {
      text_.append(stamp_).append(fraction, 7).append("Z ").append(level_name).append(" ");
      text_.append(ready ? std::string(payload.substr(1)) : printable(redacted(payload))).append("\n");
    }
    line.append(text_.data(), text_.data() + text_.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<LineFormatter>(); }

 private:
  std::chrono::system_clock::time_point second_{std::chrono::seconds{-1}};
  std::string stamp_;
  std::string text_;
};

// Lines to a descriptor through a buffer: one write for many lines.
class DescriptorSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit DescriptorSink(int descriptor) : descriptor_(descriptor) {}
  ~DescriptorSink() override { flush_(); }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    buffer_.append(line.data(), line.size());
    if (buffer_.size() >= kBufferBytes || message.level >= spdlog::level::warn) flush_();
  }

  void flush_() override {
    std::string_view rest = buffer_;
    while (!rest.empty()) {
      const auto written = ::write(descriptor_, rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) break;  // nobody is there to be told; the lines are lost, the server goes on
      rest.remove_prefix(static_cast<std::size_t>(written));
    }
    buffer_.clear();
  }

 private:
  int descriptor_;
  std::string buffer_;
};

bool is_plain(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text)
    if (c == ' ' || c == '"' || c == '=' || c == '\\') return false;
  return true;
}

void append_number(std::string& out, auto number) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(digits, end);
}

void append_value(std::string& out, const LogValue& value) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    const std::string safe = printable(redacted(*text));
    if (!json_lines && is_plain(safe))
      out.append(safe);
    else
      append_json_text(out, safe);
  } else if (const auto* number = std::get_if<std::int64_t>(&value)) {
    append_number(out, *number);
  } else if (const auto* real = std::get_if<double>(&value)) {
    append_number(out, *real);
  } else {
    out.append(std::get<bool>(value) ? "true" : "false");
  }
}

}  // namespace

Status start_log(const LogOptions& options) {
  if (options.format != "text" && options.format != "json")
    return fail(ErrorKind::invalid_argument, "log_format is '" + options.format + "'; it must be text or json");
  const auto name = options.level == "warn" ? std::string("warning") : options.level;
  const auto level = spdlog::level::from_str(name);
  if (level == spdlog::level::off && name != "off")
    return fail(ErrorKind::invalid_argument,
                "log_level is '" + options.level + "'; it must be trace, debug, info, warn, error or off");
  json_lines = options.format == "json";
  auto sink = std::make_shared<DescriptorSink>(options.descriptor);
  sink->set_formatter(std::make_unique<LineFormatter>());
  auto logger = std::make_shared<spdlog::logger>("fused", std::move(sink));
  logger->set_level(level);
  spdlog::set_default_logger(std::move(logger));
  return {};
}

void flush_log() { spdlog::default_logger_raw()->flush(); }

bool log_enabled(spdlog::level::level_enum level) { return spdlog::default_logger_raw()->should_log(level); }

void log_event(spdlog::level::level_enum level, std::string_view event, std::initializer_list<LogField> fields) {
  if (!log_enabled(level)) return;
  std::string line(1, kReady);
  if (json_lines) {
    line.append("\"event\":");
    append_json_text(line, event);
    for (const auto& [name, value] : fields) {
      line.append(",\"").append(name).append("\":");
      append_value(line, value);
    }
  } else {
    line.append(event);
    for (const auto& [name, value] : fields) {
      line.append(" ").append(name).append("=");
      append_value(line, value);
    }
  }
  spdlog::default_logger_raw()->log(level, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace fused
