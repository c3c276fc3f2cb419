// What a map client needs beside the tiles of a shared function: its TileJSON, and a preview map to look at.
#pragma once
#include <boost/asio/awaitable.hpp>

#include "http/endpoints/run.hpp"
#include "http/message.hpp"

namespace fused {

// TileJSON 3.0.0 of a share token. `format` (mvt by default) and parameters of the query are passed on to the tiles.
struct TileJson {
  RunParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// A page with a MapLibre map of the function's tiles; works without internet.
struct PreviewMap {
  RunParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// The script and style that the preview page loads: {asset} is a file name of the installed page folder.
struct PreviewAsset {
  RunParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

}  // namespace fused
