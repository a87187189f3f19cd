#include "safetensors/header.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "container.h"
#include "safetensors/writer.h"
#include "support/matchers.h"

namespace ctq::safetensors {
namespace {

using ctq::test::HasCode;
using test::container;
using test::length_field;
using test::parse;
using test::tensor;
using namespace std::string_view_literals;

constexpr std::string_view kA = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";

std::string with_a(std::string_view more) { return "{" + std::string(kA) + "," + std::string(more) + "}"; }

/// An entry "t" of one byte with one field replaced or added.
std::string entry(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return R"({"t":{"dtype":)" + std::string(dtype) + R"(,"shape":)" + std::string(shape) +
         R"(,"data_offsets":)" + std::string(offsets) + "}}";
}

#define CHECK_REJECTED(file, ...) \
  CHECK_THROWS_MATCHES(parse(file), Error, HasCode(ErrorCode::kBadInput, "x.safetensors", __VA_ARGS__))

}  // namespace

TEST_CASE("header: a small file", "[safetensors]") {
  const Header header = parse(
      container(R"({"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[1],"data_offsets":[4,5]},)"
                R"("a":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]}})",
                "abcde"));
  REQUIRE(header.tensors.size() == 2);
  CHECK(header.data_start == 147);
  CHECK(header.metadata == Metadata{{"format", "pt"}});
  CHECK(header.tensors[0].name == "a");
  CHECK(header.tensors[0].dtype == Dtype::kF16);
  CHECK(header.tensors[0].shape == std::vector<int64_t>{1, 2});
  CHECK(header.tensors[0].numel() == 2);
  CHECK(header.tensors[0].bytes() == 4);
  CHECK(header.tensors[1].begin == 4);
}

TEST_CASE("header: no tensors", "[safetensors]") {
  CHECK(parse("\x02\0\0\0\0\0\0\0{}"sv).tensors.empty());
  CHECK(parse("\x02\0\0\0\0\0\0\0{}"sv).data_start == 10);
}

TEST_CASE("header: the length field", "[safetensors]") {
  CHECK_REJECTED("", "empty", "is the download complete?");
  CHECK_REJECTED("\x02\0\0\0\0\0\0"sv, "7 bytes are too short");
  CHECK_REJECTED("\0\0\0\0\0\0\0\0{}"sv, "length is 0");
  CHECK_REJECTED("\x03\0\0\0\0\0\0\0{}"sv, "end at byte 11", "(10 bytes)", "is the download complete?");
  CHECK_REJECTED("\xff\0\0\0\0\0\0\0{}"sv, "end at byte 263");
  CHECK_REJECTED("\0\0\0\0\0\0\0\x80{}"sv, "9223372036854775808 bytes", "100000000");
  CHECK_REJECTED("\xff\xff\xff\xff\xff\xff\xff\xff{}"sv, "18446744073709551615 bytes");
  CHECK_REJECTED(length_field(100'000'001) + "{}", "100000001 bytes, more than the 100000000 allowed");
  CHECK_REJECTED(length_field(100'000'000) + "{}", "end at byte 100000008");
}

TEST_CASE("header: other kinds of file are named", "[safetensors]") {
  CHECK_REJECTED("PK\x03\x04\0\0\x08\x08\0\0\0\0"sv, "PyTorch pickle", "not safetensors");
  CHECK_REJECTED("PK\x03\x04"sv, "PyTorch pickle");
  CHECK_REJECTED("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j"sv, "PyTorch pickle");
  CHECK_REJECTED("\x80\x04\x95\x10\0\0\0\0\0\0\0"sv, "PyTorch pickle");
  CHECK_REJECTED("GGUF\x03\0\0\0\0\0\0\0"sv, "GGUF");
  CHECK_REJECTED("<!DOCTYPE html><html>", "HTML");
  CHECK_REJECTED("<html>", "HTML");
  CHECK_REJECTED("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull");
  CHECK_REJECTED("{\n  \"metadata\": {}}", "JSON text");
  // A length field may begin as a pickle does; the download is then what is wrong.
  CHECK_REJECTED("\x80\x02\0\0\0\0\0\0{\"a\":"sv, "is the download complete?");
}

TEST_CASE("header: text that is not a JSON object", "[safetensors]") {
  CHECK_REJECTED(container("{"), "not valid JSON", "byte 1");
  CHECK_REJECTED(container("{} x"), "not valid JSON");
  CHECK_REJECTED(container("{}{}"), "not valid JSON");
  CHECK_REJECTED(container("{'a':1}"), "not valid JSON");
  CHECK_REJECTED(container("{\"a\":1,}"), "tensor 'a'");
  CHECK_REJECTED(container(with_a("")), "not valid JSON");
  CHECK_REJECTED(container("        "), "not valid JSON");
  CHECK_REJECTED(container("{}\0\0\0\0\0\0"sv), "NUL byte", "byte 2", "spaces");
  CHECK_REJECTED(container("\0{}"sv), "NUL byte");
  CHECK_REJECTED(container("\xEF\xBB\xBF{}"), "not valid JSON");
  CHECK_REJECTED(container("{\"\xff\":1}"), "not UTF-8");
  CHECK_REJECTED(container("{\"\xc0\x80\":1}"), "not UTF-8");
  CHECK_REJECTED(container("{\"\xed\xa0\x80\":1}"), "not UTF-8");
  CHECK_REJECTED(container(R"({"\ud800":1})"), "not valid JSON");
  CHECK_REJECTED(container("[]"), "an array, not a JSON object");
  CHECK_REJECTED(container("null"), "null, not a JSON object");
  CHECK_REJECTED(container("3"), "the number 3, not a JSON object");
  CHECK_REJECTED(container("\"a\""), "the string 'a', not a JSON object");
}

TEST_CASE("header: white space around the object", "[safetensors]") {
  CHECK(parse(container(" \n\t{}")).tensors.empty());
  CHECK(parse(container("{}   \n")).tensors.empty());
  CHECK(parse(container("{\"__metadata__\" : null}\n\n")).tensors.empty());
}

TEST_CASE("header: a million brackets do not use up the stack", "[safetensors]") {
  const std::string open(1'000'000, '['), close(1'000'000, ']');
  CHECK_REJECTED(container(open), "an array");
  CHECK_REJECTED(container("{\"t\":" + open + close + "}"), "tensor 't'", "an array, not an object");
  CHECK_REJECTED(container("{\"t\":{\"x\":" + open + close + "}}"), "tensor 't'", "nests more than");
  CHECK_REJECTED(container("{\"t\":{\"x\":" + open + "}}"), "nests more than");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"t\":";
  CHECK_REJECTED(container(objects), "tensor 't'", "nests more than");
}

TEST_CASE("header: __metadata__", "[safetensors]") {
  CHECK(parse(container(R"({"__metadata__":{}})")).metadata.empty());
  CHECK(parse(container(R"({"__metadata__":null})")).metadata.empty());
  CHECK(parse(container(R"({"__metadata__":{"":"","k":"\u00e9\n\""}})")).metadata ==
        Metadata{{"", ""}, {"k", "\xc3\xa9\n\""}});
  CHECK_REJECTED(container(R"({"__metadata__":{},"__metadata__":{}})"), "__metadata__", "twice");
  CHECK_REJECTED(container(R"({"__metadata__":null,"__metadata__":{}})"), "__metadata__", "twice");
  CHECK_REJECTED(container(R"({"__metadata__":{"a":"1","a":"1"}})"), "__metadata__", "'a' twice");
  CHECK_REJECTED(container(R"({"__metadata__":[]})"), "__metadata__ is an array");
  CHECK_REJECTED(container(R"({"__metadata__":"pt"})"), "__metadata__ is the string 'pt'");
  CHECK_REJECTED(container(R"({"__metadata__":7})"), "__metadata__ is the number 7");
  CHECK_REJECTED(container(R"({"__metadata__":{"a":1}})"), "'a' is the number 1, not a string");
  CHECK_REJECTED(container(R"({"__metadata__":{"a":null}})"), "'a' is null");
  CHECK_REJECTED(container(R"({"__metadata__":{"a":true}})"), "'a' is a boolean");
  CHECK_REJECTED(container(R"({"__metadata__":{"a":{}}})"), "'a' is an object");
  CHECK_REJECTED(container(R"({"__metadata__":{"a":["b"]}})"), "'a' is an array");
}

TEST_CASE("header: entries of the wrong kind", "[safetensors]") {
  CHECK_REJECTED(container(R"({"t":null})"), "tensor 't'", "null, not an object");
  CHECK_REJECTED(container(R"({"t":["U8",[0],[0,0]]})"), "tensor 't'", "an array, not an object");
  CHECK_REJECTED(container(R"({"t":{}})"), "tensor 't'", "no 'dtype'");
  CHECK_REJECTED(container(R"({"t":{"shape":[0],"data_offsets":[0,0]}})"), "no 'dtype'");
  CHECK_REJECTED(container(R"({"t":{"dtype":"U8","data_offsets":[0,0]}})"), "no 'shape'");
  CHECK_REJECTED(container(R"({"t":{"dtype":"U8","shape":[0]}})"), "no 'data_offsets'");
  CHECK_REJECTED(container(entry("1", "[0]", "[0,0]")), "tensor 't'", "'dtype' is the number 1");
  CHECK_REJECTED(container(entry("[\"U8\"]", "[0]", "[0,0]")), "'dtype' is an array");
  CHECK_REJECTED(container(entry("\"U8\"", "0", "[0,0]")), "'shape' is the number 0");
  CHECK_REJECTED(container(entry("\"U8\"", "{}", "[0,0]")), "'shape' is an object");
  CHECK_REJECTED(container(entry("\"U8\"", "null", "[0,0]")), "'shape' is null");
  CHECK_REJECTED(container(entry("\"U8\"", "[[0]]", "[0,0]")), "'shape' holds an array");
  CHECK_REJECTED(container(entry("\"U8\"", "[0]", "\"0,0\"")), "'data_offsets' is the string '0,0'");
  CHECK_REJECTED(container(entry("\"U8\"", "[0]", "[]")), "'data_offsets' holds 0 of its two numbers");
  CHECK_REJECTED(container(entry("\"U8\"", "[0]", "[0]")), "'data_offsets' holds 1 of its two numbers");
  CHECK_REJECTED(container(entry("\"U8\"", "[0]", "[0,0,0]")), "'data_offsets' holds more than two");
  CHECK_REJECTED(container(R"({"t":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
                 "tensor 't'", "'dtype' is given twice");
  CHECK_REJECTED(container(R"({"t":{"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]}})"),
                 "'shape' is given twice");
  CHECK_REJECTED(container(R"({"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"data_offsets":[0,0]}})"),
                 "'data_offsets' is given twice");
}

TEST_CASE("header: numbers that are no sizes", "[safetensors]") {
  const std::vector<std::string> numbers = {
      "-1",
      "-0",
      "1.0",
      "0.5",
      "1e2",
      "-9223372036854775808",
      "9223372036854775808",
      "18446744073709551616",
      "1e30",
      "null",
      "\"1\"",
      "false",
  };
  for (const std::string& number : numbers) {
    CAPTURE(number);
    CHECK_REJECTED(container(entry("\"U8\"", "[" + number + "]", "[0,0]")), "tensor 't'", "'shape' holds");
    CHECK_REJECTED(container(entry("\"U8\"", "[0]", "[0," + number + "]")), "tensor 't'",
                   "'data_offsets' holds");
  }
  CHECK_REJECTED(container(entry("\"U8\"", "[-3]", "[0,0]")), "the number -3");
  CHECK_REJECTED(container(entry("\"U8\"", "[2.5]", "[0,0]")), "the number 2.5");
  CHECK_REJECTED(container(entry("\"U8\"", "[01]", "[0,0]")), "not valid JSON");
}

TEST_CASE("header: unknown keys of an entry are skipped", "[safetensors]") {
  const Header header = parse(container(
      R"({"t":{"x":{"dtype":[1,{"shape":-1.5}],"y":null},"dtype":"U8","x":[[],{}],"shape":[1],"z":-0.1,)"
      R"("data_offsets":[0,1],"note":"n"}})",
      "a"));
  REQUIRE(header.tensors.size() == 1);
  CHECK(header.tensors[0].shape == std::vector<int64_t>{1});
  CHECK_REJECTED(container(R"({"t":{"x":{"dtype":"U8"},"shape":[0],"data_offsets":[0,0]}})"), "no 'dtype'");
}

TEST_CASE("header: dtype names", "[safetensors]") {
  CHECK_REJECTED(container(entry("\"F99\"", "[0]", "[0,0]")), "tensor 't'", "no dtype 'F99'");
  CHECK_REJECTED(container(entry("\"\"", "[0]", "[0,0]")), "no dtype ''");
  CHECK_REJECTED(container(entry("\"C128\"", "[0]", "[0,0]")), "no dtype 'C128'");
  CHECK_REJECTED(container(entry("\"f32\"", "[0]", "[0,0]")), "no dtype 'f32'", "upper case: 'F32'");
  CHECK_REJECTED(container(entry("\"F8_e4m3\"", "[0]", "[0,0]")), "upper case: 'F8_E4M3'");
}

TEST_CASE("header: shape and dtype must fit the offsets", "[safetensors]") {
  CHECK_REJECTED(container(entry("\"F32\"", "[2]", "[0,4]"), "abcd"), "tensor 't'",
                 "shape [2] of F32 takes 8 bytes", "span 4");
  CHECK_REJECTED(container(entry("\"F32\"", "[]", "[0,8]"), "abcdefgh"), "shape [] of F32 takes 4 bytes");
  CHECK_REJECTED(container(entry("\"U8\"", "[1]", "[0,0]")), "takes 1 bytes", "span 0");
  CHECK_REJECTED(container(entry("\"U8\"", "[0]", "[0,1]"), "a"), "takes 0 bytes", "span 1");
  CHECK_REJECTED(container(entry("\"F4\"", "[3]", "[0,2]"), "ab"), "tensor 't'",
                 "does not end on a whole byte");
  CHECK_REJECTED(container(entry("\"F6_E3M2\"", "[3]", "[0,2]"), "ab"), "does not end on a whole byte");
  CHECK_REJECTED(container(entry("\"U8\"", "[4294967296,4294967296,4294967296]", "[0,0]")), "tensor 't'",
                 "larger than any file");
  CHECK_REJECTED(container(entry("\"F4\"", "[4294967296,4294967296]", "[0,0]")), "larger than any file");
  CHECK_REJECTED(container(entry("\"F64\"", "[4611686018427387904]", "[0,0]")), "larger than any file");
  CHECK_REJECTED(container(entry("\"U8\"", "[1]", "[1,0]"), "a"), "tensor 't'", "begins at byte 1",
                 "end at byte 0");
}

TEST_CASE("header: tensors lie back to back", "[safetensors]") {
  auto b = [](std::string_view offsets, int64_t size) {
    return with_a(R"("b":{"dtype":"U8","shape":[)" + std::to_string(size) + R"(],"data_offsets":)" +
                  std::string(offsets) + "}");
  };
  CHECK(parse(container(b("[2,4]", 2), "abcd")).tensors.size() == 2);
  CHECK_REJECTED(container(b("[3,5]", 2), "abcde"), "tensor 'b' begins at byte 3", "hole of 1 bytes",
                 "tensor 'a'");
  CHECK_REJECTED(container(b("[1,3]", 2), "abc"), "tensor 'b'", "overlaps tensor 'a'");
  CHECK_REJECTED(container(b("[0,2]", 2), "ab"), "tensor 'b'", "overlaps tensor 'a'");
  CHECK_REJECTED(container(b("[0,4]", 4), "abcd"), "overlaps");
  CHECK_REJECTED(container(b("[1,1]", 0), "ab"), "overlaps");
  CHECK_REJECTED(container(b("[3,3]", 0), "ab"), "hole of 1 bytes");
  CHECK_REJECTED(container(entry("\"U8\"", "[1]", "[1,2]"), "ab"), "tensor 't'", "hole of 1 bytes",
                 "start of the data");
  CHECK_REJECTED(container(with_a(kA), "ab"), "names 'a' twice");
  CHECK_REJECTED(container(with_a(R"("a":{"dtype":"U8","shape":[1],"data_offsets":[2,3]})"), "abc"),
                 "names 'a' twice");
}

TEST_CASE("header: the data end where the file does", "[safetensors]") {
  const std::string json = "{" + std::string(kA) + "}";
  const std::string whole = std::to_string(8 + json.size() + 2);
  CHECK_REJECTED(container(json, "a"), "truncated", "tensor 'a'", whole, "is the download complete?");
  CHECK_REJECTED(container(json), "truncated", "tensor 'a'");
  CHECK_REJECTED(container(json, "abc"), "1 bytes after the last tensor", whole);
  CHECK_REJECTED(container("{}", "a"), "1 bytes after the last tensor");
  CHECK_REJECTED(container(entry("\"U8\"", "[1152921504606846975]", "[0,1152921504606846975]"), "a"),
                 "truncated");
}

TEST_CASE("header: empty tensors stand anywhere, in a fixed order", "[safetensors]") {
  const Header header = parse(container(
      with_a(R"("z":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},"c":{"dtype":"F4","shape":[0],)"
             R"("data_offsets":[0,0]},"d":{"dtype":"I64","shape":[2,0],"data_offsets":[2,2]})"),
      "ab"));
  std::string order;
  for (const TensorInfo& info : header.tensors) order += info.name;
  CHECK(order == "czad");
}

TEST_CASE("header: scalars, five dimensions and unaligned tensors", "[safetensors]") {
  const Header header = parse(container(R"({"s":{"dtype":"U8","shape":[],"data_offsets":[0,1]},)"
                                        R"("v":{"dtype":"F32","shape":[1,1,2,1,1],"data_offsets":[1,9]}})",
                                        "abcdefghi"));
  CHECK(header.tensors[0].numel() == 1);
  CHECK(header.tensors[1].shape == std::vector<int64_t>{1, 1, 2, 1, 1});
}

TEST_CASE("header: every shorter file is refused", "[safetensors]") {
  const std::string file = container("{" + std::string(kA) + "}", "ab");
  REQUIRE_NOTHROW(parse(file));
  for (size_t size = 0; size < file.size(); ++size) {
    CAPTURE(size);
    CHECK_REJECTED(file.substr(0, size), "");
  }
}

TEST_CASE("header: a header shorter than its text is refused at every length", "[safetensors]") {
  const std::string json = "{" + std::string(kA) + "}";
  for (size_t length = 0; length < json.size(); ++length) {
    CAPTURE(length);
    CHECK_REJECTED(length_field(length) + json + "ab", "not a safetensors file");
  }
}

TEST_CASE("header: names of any content survive writing and reading", "[safetensors]") {
  const std::vector<std::string> names = {
      "",
      "a\nb",
      "\"quoted\"",
      "back\\slash",
      "\x01\x1f\x7f",
      std::string("nul\0inside", 10),
      "na\xc3\xafve/\xe6\xa8\xa1\xf0\x9f\x98\x80",
      "it's {braces}, [brackets]",
      "__metadata__ ",
  };
  std::vector<TensorInfo> tensors;
  for (const std::string& name : names) tensors.push_back(tensor(name, Dtype::kU8, {1}));
  tensors = lay_out(std::move(tensors));
  const Metadata metadata = {{"k\n\"\\", "v\t\xc3\xa9"}, {"", ""}};

  const std::string bytes = write_header(tensors, metadata);
  const Header header = parse_header(bytes, bytes.size() + names.size(), "x.safetensors");
  CHECK(bytes.size() % 8 == 0);
  CHECK(header.data_start == bytes.size());
  CHECK(header.metadata == metadata);
  REQUIRE(header.tensors.size() == names.size());
  for (size_t i = 0; i < tensors.size(); ++i) CHECK(header.tensors[i].name == tensors[i].name);
}

TEST_CASE("header: a name of any content stays on one line of a message", "[safetensors]") {
  CHECK_REJECTED(container(R"({"a\nb\u0001":1})"), R"(tensor 'a\nb\x01')");
}

TEST_CASE("write_header: an empty file", "[safetensors]") {
  CHECK(write_header({}, {}) == "\x08\0\0\0\0\0\0\0{}      "sv);
}

TEST_CASE("write_header: text that is not UTF-8 is refused", "[safetensors]") {
  CHECK_THROWS_MATCHES(write_header({tensor("\xff", Dtype::kU8, {0})}, {}), Error,
                       HasCode(ErrorCode::kFailure, "tensor name", "not UTF-8"));
  CHECK_THROWS_MATCHES(write_header({}, {{"k", "\xff"}}), Error,
                       HasCode(ErrorCode::kFailure, "metadata value"));
}

TEST_CASE("write_header: a header above the limit is refused", "[safetensors]") {
  CHECK_THROWS_MATCHES(write_header({}, {{"k", std::string(kMaxHeaderBytes, 'v')}}), Error,
                       HasCode(ErrorCode::kFailure, "more than the 100000000"));
}

}  // namespace ctq::safetensors
