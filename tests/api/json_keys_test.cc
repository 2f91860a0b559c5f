// Keys that a client chooses to be slow.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <boost/json/value.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/json_reader.h"

namespace mlxd::api {
namespace {

using ::testing::HasSubstr;

std::string object_of(const std::vector<std::string>& keys) {
  std::string json = "{";
  for (const std::string& key : keys) {
    json += json.size() > 1 ? ",\"" : "\"";
    for (const char c : key) {
      if (c >= ' ' && c != '"' && c != '\\') {
        json += c;
      } else {
        json += fmt::format("\\u{:04x}", static_cast<int>(c));
      }
    }
    json += "\":1";
  }
  return json + "}";
}

std::vector<std::string> numbered_keys(int count, std::string_view prefix = "key") {
  std::vector<std::string> keys;
  for (int i = 0; i < count; ++i) keys.push_back(std::string(prefix) + std::to_string(i));
  return keys;
}

// Of a key's eight bytes, as MurmurHash64A mixes them into its state, and back.
constexpr std::uint64_t kMultiplier = 0xc6a4a7935bd1e995;
std::uint64_t mix(std::uint64_t block) {
  block *= kMultiplier;
  block ^= block >> 47;
  return block * kMultiplier;
}
std::uint64_t unmix(std::uint64_t mixed) {
  std::uint64_t inverse = kMultiplier;  // modulo 2^64, by Newton's method
  for (int i = 0; i < 6; ++i) inverse *= 2 - kMultiplier * inverse;
  mixed *= inverse;
  mixed ^= mixed >> 47;
  return mixed * inverse;
}

// 2^blocks keys with one std::hash, whatever it is seeded with: a difference in the top bit of the
// state stays there when it is multiplied, and a second one takes it away. The blocks are ASCII, in
// which JSON can say every one.
std::vector<std::string> colliding_keys(int blocks) {
  std::mt19937_64 random(5);
  constexpr std::uint64_t top_bit = std::uint64_t{1} << 63;
  const auto text_of = [](std::uint64_t block) {
    std::string text(sizeof block, ' ');
    std::memcpy(text.data(), &block, sizeof block);
    return text;
  };
  const auto is_ascii = [](const std::string& text) {
    return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  };
  const auto find_pair = [&] {
    for (;;) {
      std::string first(8, ' ');
      for (char& c : first) c = static_cast<char>(random() % 0x80);
      std::uint64_t block = 0;
      std::memcpy(&block, first.data(), sizeof block);
      std::string second = text_of(unmix(mix(block) ^ top_bit));
      if (is_ascii(second)) return std::array<std::string, 2>{first, second};
    }
  };
  std::vector<std::string> keys{""};
  for (int i = 0; i < blocks; ++i) {
    const auto odd = find_pair();
    const auto even = find_pair();
    std::vector<std::string> longer;
    for (const std::string& key : keys) {
      longer.push_back(key + odd[0] + even[0]);
      longer.push_back(key + odd[1] + even[1]);
    }
    keys = std::move(longer);
  }
  return keys;
}

// The shortest of some runs: a loaded machine only ever takes longer.
double seconds_to_read(const std::string& json) {
  double shortest = 1e9;
  for (int run = 0; run < 5; ++run) {
    const auto start = std::chrono::steady_clock::now();
    const auto value = read_json(json);
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    shortest = std::min(shortest, spent.count());
  }
  return shortest;
}

TEST(JsonKeys, ThatCollideTakeNoLongerThanOthersOfTheirLength) {
  const auto colliding = colliding_keys(13);
  ASSERT_EQ(colliding.size(), kJsonKeys);
  const std::unordered_set<std::string> distinct(colliding.begin(), colliding.begin() + 100);
  ASSERT_EQ(distinct.size(), 100U);
#if defined(__GLIBCXX__)
  for (const auto& key : distinct) {
    ASSERT_EQ(std::hash<std::string>()(key), std::hash<std::string>()(colliding[0]));
  }
#endif
  const auto ordinary =
      numbered_keys(static_cast<int>(kJsonKeys), std::string(colliding[0].size() - 4, 'k'));
  ASSERT_TRUE(read_json(object_of(colliding)));
  EXPECT_LT(seconds_to_read(object_of(colliding)), 20 * seconds_to_read(object_of(ordinary)));
}

TEST(JsonKeys, AreBoundedInOneObject) {
  EXPECT_TRUE(read_json(object_of(numbered_keys(kJsonKeys))));
  for (const int keys : {static_cast<int>(kJsonKeys) + 1, 350'000}) {
    const auto value = read_json(object_of(numbered_keys(keys)));
    ASSERT_FALSE(value) << keys;
    EXPECT_EQ(value.error().status, 400);
    EXPECT_EQ(value.error().code, "invalid_json");
    EXPECT_THAT(value.error().message, HasSubstr("8192"));
  }
}

TEST(JsonKeys, AreBoundedInManyLargeObjectsTogether) {
  const auto repeat = [](int keys, int objects) {
    const std::string one = object_of(numbered_keys(keys));
    std::string json = "[" + one;
    for (int i = 1; i < objects; ++i) json += "," + one;
    return json + "]";
  };
  EXPECT_TRUE(read_json(repeat(4096, 4)));
  EXPECT_FALSE(read_json(repeat(4096, 5)));
  EXPECT_TRUE(read_json(repeat(18, 100'000))) << "usual objects may be as many as the body holds";
  EXPECT_TRUE(read_json(repeat(64, 10'000)));
}

TEST(JsonKeys, ThatAreTokenIdsMayBeThoseOfAWholeVocabulary) {
  const std::string bias = object_of(numbered_keys(262'144, ""));
  EXPECT_TRUE(read_json(R"({"model":"m","prompt":"x","logit_bias":)" + bias + "}"));
  EXPECT_FALSE(read_json(object_of(numbered_keys(262'144, "0000000")))) << "no token's id";
}

// The assumption behind that: however many keys an object has, its table's function spreads the
// token ids so evenly that a client who knows the table's address, and takes them from the fullest
// places, makes no more steps along these than there are token ids, but for an eighth.
TEST(JsonKeys, ThatAreTokenIdsCannotBeChosenToCollide) {
  constexpr std::size_t ids = 1'111'110;
  std::vector<std::string> keys;
  for (int digits = 1, count = 10; digits <= 6; ++digits, count *= 10) {
    for (int i = 0; i < count; ++i) {
      const std::string number = std::to_string(i);
      keys.push_back(std::string(static_cast<std::size_t>(digits) - number.size(), '0') + number);
    }
  }
  ASSERT_EQ(keys.size(), ids);
  std::mt19937_64 random(3);
  for (const std::size_t places :
       {19, 64, 1000, 1088, 4096, 8192, 65'536, 100'003, 217'500, 248'827, 262'144, 327'680}) {
    const std::uintptr_t salt = 0x7f0000000010 + random() % (1 << 20) * 4096;
    std::vector<std::uint32_t> counts(places);
    for (const std::string& key : keys) {
      ++counts[boost::json::detail::digest(key.begin(), key.end(), salt) % places];
    }
    std::sort(counts.rbegin(), counts.rend());
    std::size_t left = places;  // as many keys as places
    std::size_t steps = 0;
    for (const std::size_t count : counts) {
      const std::size_t taken = std::min(count, left);
      steps += taken * (taken + 1) / 2;
      left -= taken;
    }
    EXPECT_LE(steps, std::min(places * places, ids + ids / 8)) << places;
  }
}

// Those that one place of a table gets are the worst of them; many small tables are as bad.
TEST(JsonKeys, ThatAreTokenIdsAreBoundedInManyLargeObjectsTogether) {
  const std::string one = object_of(numbered_keys(4000, ""));
  std::string json = "[" + one;
  for (int i = 0; i < 100; ++i) json += "," + one;
  EXPECT_FALSE(read_json(json + "]"));
}

TEST(JsonKeys, AreFoundTwiceAmongMany) {
  auto keys = numbered_keys(5000);
  keys.push_back("key17");
  const auto value = read_json(object_of(keys));
  ASSERT_FALSE(value);
  EXPECT_THAT(value.error().message, HasSubstr("'key17' twice"));
}

TEST(JsonKeys, OfAnObjectWithinAnotherAreItsOwn) {
  EXPECT_TRUE(read_json(R"({"b":{"a":{"b":1},"c":[{"a":1,"b":{}},{"a":1}]},"a":1,"c":2})"));
  EXPECT_FALSE(read_json(R"({"b":{"a":{"b":1},"c":[{"a":1,"b":{}},{"a":1}]},"a":1,"b":2})"));
  EXPECT_FALSE(read_json(R"({"b":{"a":{},"c":[{"a":1}],"a":2}})"));
}

}  // namespace
}  // namespace mlxd::api
