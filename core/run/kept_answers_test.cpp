#include "run/kept_answers.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace fused {
namespace {

struct Kept {
  explicit Kept(KeptAnswersMax max)
      : answers(
            max, [this](const std::string& key) { return busy.contains(key); },
            [this](const std::string& key, bool may_leave_note) {
              dropped.push_back(key);
              return may_leave_note ? note : 0;
            }) {}
  std::int64_t note = 0;
  std::set<std::string> busy;
  std::vector<std::string> dropped;
  KeptAnswers answers;
};
using Names = std::vector<std::string>;

TEST(KeptAnswers, TheOldestGoAtOnceUntilAllFit) {
  Kept kept({.bytes = 100, .answers = 10});
  for (const char* key : {"a", "b", "c", "d"}) kept.answers.add(key, 25);
  EXPECT_TRUE(kept.dropped.empty());
  kept.answers.add("e", 60);
  EXPECT_EQ(kept.dropped, (Names{"a", "b", "c"}));
  EXPECT_EQ(kept.answers.bytes(), 85);
  EXPECT_EQ(kept.answers.size(), 2u);
}

TEST(KeptAnswers, TheirNumberIsBoundedAsWell) {
  Kept kept({.bytes = 1'000'000, .answers = 3});
  for (int i = 0; i < 1'000; ++i) kept.answers.add(std::to_string(i), 0);
  EXPECT_EQ(kept.answers.size(), 3u);
  EXPECT_EQ(kept.dropped.size(), 997u);
  EXPECT_EQ(kept.dropped.front(), "0");
}

TEST(KeptAnswers, ThoseThatWereHandedOutGoFirst) {
  Kept kept({.bytes = 100, .answers = 10});
  for (const char* key : {"a", "b", "c", "d"}) kept.answers.add(key, 25);
  kept.answers.taken("d");
  kept.answers.taken("b");
  kept.answers.add("e", 30);
  EXPECT_EQ(kept.dropped, (Names{"d", "b"}));
  kept.answers.add("f", 60);
  EXPECT_EQ(kept.dropped, (Names{"d", "b", "a", "c"}));
}

TEST(KeptAnswers, OneThatIsAboutToBeTakenStaysAndSoDoesTheNewest) {
  Kept kept({.bytes = 100, .answers = 10});
  kept.busy.insert("a");
  kept.answers.add("a", 70);
  kept.answers.add("b", 10);
  kept.answers.add("big", 500);
  EXPECT_EQ(kept.dropped, Names{"b"});
  EXPECT_EQ(kept.answers.bytes(), 570);
  kept.busy.clear();
  kept.answers.add("c", 1);
  EXPECT_EQ(kept.dropped, (Names{"b", "a", "big"}));
  EXPECT_EQ(kept.answers.bytes(), 1);
}

TEST(KeptAnswers, ANoteIsLeftOnceInPlaceOfWhatNobodyHasTaken) {
  Kept kept({.bytes = 100, .answers = 3});
  kept.note = 1;
  kept.answers.add("a", 90);
  kept.answers.add("b", 90);
  EXPECT_EQ(kept.dropped, Names{"a"});
  EXPECT_EQ(kept.answers.bytes(), 91);
  kept.answers.add("c", 99);
  EXPECT_EQ(kept.dropped, (Names{"a", "a", "b"}));
  EXPECT_EQ(kept.answers.bytes(), 100);
  for (const char* key : {"d", "e", "f", "g"}) kept.answers.add(key, 0);
  EXPECT_EQ(kept.answers.size(), 3u) << "too many: no note is left";
}

TEST(KeptAnswers, AnotherAttemptTakesTheOldOnesPlace) {
  Kept kept({.bytes = 100, .answers = 10});
  kept.answers.add("a", 90);
  kept.answers.add("a", 80);
  EXPECT_EQ(kept.answers.bytes(), 80);
  kept.answers.remove("a");
  kept.answers.remove("a");
  EXPECT_EQ(kept.answers.bytes(), 0);
  EXPECT_TRUE(kept.dropped.empty());
}

}  // namespace
}  // namespace fused
