#include "http/endpoints/run_reply.hpp"

#include <gtest/gtest.h>

namespace fused {
namespace {

std::string header_of(const Reply& reply, std::string_view name) {
  std::string found;
  for (const auto& [key, value] : reply.headers)
    if (key == name) found += found.empty() ? value : "|" + value;
  return found;
}

RunOutcome with(std::vector<std::pair<std::string, std::string>> headers) {
  RunOutcome outcome;
  outcome.content_type = "text/plain";
  outcome.headers = std::move(headers);
  outcome.body = Bytes::of("text");
  return outcome;
}

TEST(RunReply, AFunctionSetsWhatSpeaksOfItsResultAndNothingThatSpeaksForTheServer) {
  const std::vector<std::string> theirs{
      "Content-Disposition", "Content-Language", "Content-Encoding", "ETag", "Last-Modified", "Location", "Link",
      "Retry-After",         "X-Total-Count",    "X-Robots-Tag"};
  const std::vector<std::string> not_theirs{"Set-Cookie",
                                            "Clear-Site-Data",
                                            "Strict-Transport-Security",
                                            "Alt-Svc",
                                            "NEL",
                                            "Report-To",
                                            "Reporting-Endpoints",
                                            "Refresh",
                                            "Service-Worker-Allowed",
                                            "Content-Security-Policy",
                                            "Access-Control-Allow-Origin",
                                            "Content-Length",
                                            "Transfer-Encoding",
                                            "Connection",
                                            "Server",
                                            "Date",
                                            "WWW-Authenticate",
                                            "Permissions-Policy",
                                            "Cross-Origin-Opener-Policy",
                                            "Origin-Agent-Cluster",
                                            "X-Fused-Metadata",
                                            "X-Request-Id",
                                            "X-Frame-Options",
                                            "X-Content-Type-Options",
                                            "X-Accel-Redirect",
                                            "X-Sendfile",
                                            "SourceMap",
                                            "Upgrade"};
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& names : {theirs, not_theirs})
    for (const std::string& name : names) all.emplace_back(name, "value-of-the-function");
  const Reply reply = reply_of(with(all), ReplyForm::direct, ReplyFor::the_caller, Request{});
  const auto lower = [](std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(c));
    return text;
  };
  for (const auto& name : theirs) EXPECT_EQ(header_of(reply, lower(name)), "value-of-the-function") << name;
  for (const auto& name : not_theirs)
    EXPECT_EQ(header_of(reply, lower(name)).find("value-of-the-function"), std::string::npos) << name;
}

TEST(RunReply, AHeaderThatWouldEndEarlyIsLeftOut) {
  const Reply reply = reply_of(with({{"X-A", "1\r\nSet-Cookie: x=1"}, {"X B", "1"}, {"X-C", "good"}}),
                               ReplyForm::direct, ReplyFor::anybody_with_the_address, Request{});
  EXPECT_EQ(header_of(reply, "x-a"), "");
  EXPECT_EQ(header_of(reply, "x b"), "");
  EXPECT_EQ(header_of(reply, "x-c"), "good");
}

TEST(RunReply, WhatNeededATokenIsPrivateWhateverTheFunctionSays) {
  const auto kept = [](std::string_view value, ReplyFor reply_for) {
    return header_of(reply_of(with({{"Cache-Control", std::string(value)}}), ReplyForm::tile, reply_for, Request{}),
                     "cache-control");
  };
  EXPECT_EQ(kept("public, max-age=600", ReplyFor::anybody_with_the_address), "public, max-age=600");
  EXPECT_EQ(kept("public, max-age=600", ReplyFor::the_caller), "private, max-age=600");
  EXPECT_EQ(kept("Public,S-MaxAge=9, max-age=5,,", ReplyFor::the_caller), "private, max-age=5");
  EXPECT_EQ(kept("no-store", ReplyFor::the_caller), "private, no-store");
  const auto stated = [](ReplyForm form, ReplyFor reply_for) {
    const Reply reply = reply_of(with({}), form, reply_for, Request{});
    return header_of(reply, "cache-control") + " " + header_of(reply, "vary");
  };
  EXPECT_EQ(stated(ReplyForm::tile, ReplyFor::anybody_with_the_address), "public, max-age=60 ");
  EXPECT_EQ(stated(ReplyForm::tile, ReplyFor::the_caller), "private, max-age=60 Authorization");
  EXPECT_EQ(stated(ReplyForm::direct, ReplyFor::the_caller), "private, no-cache Authorization");
}

TEST(RunReply, ARefusalStandsInXFusedErrorAsOneLineOfAscii) {
  const Reply reply = run_refusal({ErrorKind::too_many_requests, "the queue is full:\n96 wait, größer\x01", {}}, {});
  EXPECT_EQ(reply.status, 429);
  EXPECT_EQ(header_of(reply, "x-fused-error"), "the queue is full: 96 wait, gr??er");
  EXPECT_EQ(header_of(run_refusal({ErrorKind::not_found, std::string(1 << 20, 'x'), {}}, {}), "x-fused-error").size(),
            2'000u);
}

TEST(RunReply, AFailureNamesRequestAndRun) {
  RunOutcome outcome;
  outcome.outcome = "user_error";
  outcome.status = 422;
  outcome.error_message = "no";
  outcome.run_id = "the-run";
  Request request;
  request.request_id = "the-request";
  const Reply reply = reply_of(outcome, ReplyForm::direct, ReplyFor::the_caller, request);
  EXPECT_NE(reply.body.view.find(R"("request_id":"the-request","run_id":"the-run")"), std::string_view::npos);
}

}  // namespace
}  // namespace fused
