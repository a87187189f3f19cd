// What an interrupted conversion had done, kept beside its partial output.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "done_record.h"
#include "pipeline/convert.h"
#include "safetensors/record_log.h"

namespace ctq::pipeline {

/// The journal of one output. It owns the fate of the partial files (safetensors::Unfinished::kKept):
/// destroyed without keep() or done(), it removes them and itself.
///
/// A record is on the disk only after the bytes that it speaks of. Waiting for the disk takes at most about a
/// fiftieth of the time: records gather until fifty times as long has passed as the last wait took.
class Journal {
 public:
  /// Takes up the journal of an earlier run with the same key. That of another run is logged with what is
  /// different, and removed with its partial files.
  /// throws  see safetensors::RecordLog
  Journal(const std::string& output, ResumeKey key);
  ~Journal();
  /// Removes what an earlier run left for this output, if anything.
  static void remove_left(const std::string& output);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// Weights that the earlier run found not to be quantizable.
  const plan::ValueFindings& findings() const { return findings_; }
  /// Of the earlier run; null: none.
  const DoneRecord* find(const std::string& tensor) const;

  /// Call before the output is opened. Forgets the records where they belong to other findings.
  void begin(const plan::Plan& plan, const plan::ValueFindings& findings);
  /// For a tensor whose bytes were written. sync_data: makes them outlast a loss of power
  void add(const DoneRecord& record, const std::function<void()>& sync_data);
  /// Puts what has gathered on the disk.
  void flush(const std::function<void()>& sync_data);

  /// Leaves everything for the next run.
  /// returns  false, and removes it all, when no tensor is done
  bool keep();
  size_t records() const { return records_; }
  /// "rm -f" with the hidden files: what makes the folder as it was.
  std::string removal() const;

 private:
  using Clock = std::chrono::steady_clock;

  bool read_header(const std::string& line);
  void remove_partials();

  std::string output_;
  ResumeKey key_;
  safetensors::RecordLog log_;
  std::vector<std::string> files_;  ///< outputs that have a partial file
  plan::ValueFindings findings_;
  std::map<std::string, DoneRecord> found_;
  size_t records_ = 0;
  bool begun_ = false;
  bool kept_ = false;
  std::vector<std::string> waiting_;  ///< lines
  Clock::time_point next_flush_ = Clock::now();
};

}  // namespace ctq::pipeline
