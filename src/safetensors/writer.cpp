// Laying out a file, and writing its tensors in any order.
#include "safetensors/writer.h"

#include <algorithm>
#include <mutex>
#include <tuple>
#include <unordered_map>
#include <utility>

#include <xxhash.h>

#include "base/error.h"
#include "base/text.h"
#include "header_json.h"
#include "temporary_file.h"

namespace ctq::safetensors {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 22;  // read at a time

/// The bytes before the data, read back once: whatever the reader would refuse must not reach a disk.
std::string checked_header(const std::vector<TensorInfo>& tensors, const Metadata& metadata,
                           const std::string& path) {
  std::string bytes = write_header(tensors, metadata);
  uint64_t data_bytes = 0;
  for (const TensorInfo& tensor : tensors) data_bytes = std::max(data_bytes, tensor.end);
  try {
    parse_header(bytes, bytes.size() + data_bytes, path);
  } catch (const Error& error) {
    fail(ErrorCode::kFailure, "the layout to be written is not a valid file: {}", error.what());
  }
  return bytes;
}

}  // namespace

std::vector<TensorInfo> lay_out(std::vector<TensorInfo> tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.dtype, a.name) < std::tie(b.dtype, b.name);
  });
  std::unordered_map<std::string_view, Dtype> names;
  uint64_t end = 0;
  for (TensorInfo& tensor : tensors) {
    if (tensor.name == kMetadataName) fail(ErrorCode::kFailure, "no tensor can be named '{}'", kMetadataName);
    if (!names.emplace(tensor.name, tensor.dtype).second) {
      fail(ErrorCode::kFailure, "two tensors of the output are named '{}'", printable(tensor.name));
    }
    const auto bytes = tensor_bytes(tensor.dtype, tensor.shape);
    tensor.begin = end;
    // File offsets are signed: 2^62 leaves room for the header.
    if (!bytes || *bytes > (uint64_t{1} << 62) - end) {
      fail(ErrorCode::kFailure, "tensor '{}': shape {} of {} has no size that a file can hold",
           printable(tensor.name), printable(shape_text(tensor.shape)), dtype_name(tensor.dtype));
    }
    end += *bytes;
    tensor.end = end;
  }
  return tensors;
}

struct Writer::Impl {
  Impl(const std::string& path, std::vector<TensorInfo> laid_out, Unfinished unfinished)
      : file(path, unfinished), tensors(std::move(laid_out)) {}

  /// Where a tensor goes, claimed so that no other call writes it.
  const TensorInfo& claim(std::string_view name, uint64_t bytes);
  enum class State { kMissing, kAdopted, kClaimed, kWritten };
  void mark(std::string_view name, State state);

  struct Entry {
    const TensorInfo* tensor;
    State state;
  };

  TemporaryFile file;
  std::vector<TensorInfo> tensors;
  uint64_t data_start = 0;
  uint64_t file_bytes = 0;
  bool finished = false;
  std::mutex mutex;  // guards the states in `entries`
  std::unordered_map<std::string_view, Entry> entries;
};

const TensorInfo& Writer::Impl::claim(std::string_view name, uint64_t bytes) {
  const std::lock_guard lock(mutex);
  const auto found = entries.find(name);
  if (found == entries.end()) {
    fail(ErrorCode::kFailure, "{}: tensor '{}' is not in the layout of the output", file.path(),
         printable(name));
  }
  Entry& entry = found->second;
  if (bytes != entry.tensor->bytes()) {
    fail(ErrorCode::kFailure, "{}: tensor '{}' takes {} bytes in the layout of the output, but has {}",
         file.path(), printable(name), entry.tensor->bytes(), bytes);
  }
  // A tensor without bytes counts as written from the start, so that calling for it is optional.
  if (entry.state > State::kAdopted && bytes > 0) {
    fail(ErrorCode::kFailure, "{}: tensor '{}' is written twice", file.path(), printable(name));
  }
  if (bytes > 0) entry.state = State::kClaimed;
  return *entry.tensor;
}

void Writer::Impl::mark(std::string_view name, State state) {
  const std::lock_guard lock(mutex);
  entries.find(name)->second.state = state;
}

uint64_t checksum(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Writer::Writer(const std::string& path, std::vector<TensorInfo> laid_out, const Metadata& metadata,
               Unfinished unfinished)
    : impl_(std::make_unique<Impl>(path, std::move(laid_out), unfinished)) {
  Impl& impl = *impl_;
  const std::string header = checked_header(impl.tensors, metadata, path);
  impl.data_start = impl.file_bytes = header.size();
  for (const TensorInfo& tensor : impl.tensors) {
    impl.file_bytes = std::max(impl.file_bytes, impl.data_start + tensor.end);
    const Impl::State state = tensor.bytes() == 0 ? Impl::State::kWritten : Impl::State::kMissing;
    impl.entries.emplace(tensor.name, Impl::Entry{&tensor, state});
  }
  impl.file.reserve(impl.file_bytes);
  impl.file.write_at(0, std::as_bytes(std::span(header)));
}

Writer::~Writer() = default;
Writer::Writer(Writer&&) noexcept = default;
Writer& Writer::operator=(Writer&&) noexcept = default;

const std::string& Writer::path() const { return impl_->file.path(); }
const std::vector<TensorInfo>& Writer::tensors() const { return impl_->tensors; }
uint64_t Writer::file_bytes() const { return impl_->file_bytes; }

void Writer::write(std::string_view name, std::span<const std::byte> bytes) {
  const TensorInfo& tensor = impl_->claim(name, bytes.size());
  impl_->file.write_at(impl_->data_start + tensor.begin, bytes);
  impl_->mark(name, Impl::State::kWritten);
}

void Writer::copy(std::string_view name, const Reader& source, const TensorInfo& source_tensor) {
  const TensorInfo& tensor = impl_->claim(name, source_tensor.bytes());
  const uint64_t source_offset = source.header().data_start + source_tensor.begin;
  const uint64_t offset = impl_->data_start + tensor.begin;
  const uint64_t copied = impl_->file.copy_at(offset, source.descriptor(), source_offset, tensor.bytes());
  if (copied < tensor.bytes()) {
    std::vector<std::byte> piece;
    for (uint64_t done = copied; done < tensor.bytes(); done += piece.size()) {
      piece.resize(static_cast<size_t>(std::min<uint64_t>(tensor.bytes() - done, kPieceBytes)));
      source.read(source_tensor, done, piece);
      impl_->file.write_at(offset + done, piece);
    }
  }
  impl_->mark(name, Impl::State::kWritten);
}

bool Writer::adopt(std::string_view name, uint64_t expected_checksum) {
  const auto found = impl_->entries.find(name);
  if (found == impl_->entries.end()) return false;
  const TensorInfo& tensor = *found->second.tensor;
  std::vector<std::byte> piece(static_cast<size_t>(std::min<uint64_t>(tensor.bytes(), kPieceBytes)));
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  XXH3_64bits_reset(state.get());
  for (uint64_t done = 0; done < tensor.bytes(); done += piece.size()) {
    piece.resize(static_cast<size_t>(std::min<uint64_t>(tensor.bytes() - done, kPieceBytes)));
    impl_->file.read_at(impl_->data_start + tensor.begin + done, piece);
    XXH3_64bits_update(state.get(), piece.data(), piece.size());
  }
  if (XXH3_64bits_digest(state.get()) != expected_checksum) return false;
  if (tensor.bytes() > 0) impl_->mark(name, Impl::State::kAdopted);
  return true;
}

void Writer::sync_data() { impl_->file.sync_data(); }

void Writer::finish() {
  if (impl_->finished) return;
  for (const TensorInfo& tensor : impl_->tensors) {
    const std::lock_guard lock(impl_->mutex);
    if (const Impl::State state = impl_->entries.find(tensor.name)->second.state;
        state != Impl::State::kWritten && state != Impl::State::kAdopted) {
      fail(ErrorCode::kFailure, "{}: tensor '{}' was not written", path(), printable(tensor.name));
    }
  }
  check_inputs();
  impl_->file.finish();
  impl_->finished = true;
}

void Writer::commit() {
  finish();
  impl_->file.commit();
}

void write_text_file(const std::string& path, std::string_view text, Unfinished unfinished) {
  TemporaryFile file(path, unfinished);
  file.reserve(text.size());
  file.write_at(0, std::as_bytes(std::span(text)));
  file.finish();
  file.commit();
}

}  // namespace ctq::safetensors
