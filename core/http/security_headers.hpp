// Headers that keep what a function made, and our own pages, within bounds. (nosniff and Referrer-Policy stand on every
// reply: reply_head.cpp.)
#pragma once
#include "http/message.hpp"

namespace fused {

// For what a function made: where the content type is one that browsers execute (HTML, SVG, XML, PDF, scripts), the
// page may run scripts, submit forms, open windows and download, but has no origin, so it can reach neither our cookies
// nor our API as the visitor. Other types stay as they are.
void add_sandbox(Reply& reply);

// For the server's own pages: nothing from elsewhere, no inline script, never within a frame.
void add_page_policy(Reply& reply);

}  // namespace fused
