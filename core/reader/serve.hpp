// The loop of a table process: one question, one answer, over a socket.
#pragma once
#include <cstdint>

#include "base/result.hpp"
#include "reader/answer.hpp"

namespace fused::reader {

// Frames of core/worker/frames.hpp: `run` in, `result` out. Returns when the server has closed its end; an Error for
// what is no frame. Bodies over kFrameInlineBodyMax go in a sealed memfd.
Status serve(int socket, std::uint64_t nonce, Answerer& answerer);

}  // namespace fused::reader
