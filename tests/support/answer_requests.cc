// Answers requests to a SavedModel the way TensorFlow Serving does: the same loader and session, and no Python.
//
//   answer_requests --export_dir=model/1 --op_libraries=a.so,b.so < requests.jsonl
//
// A line on standard input is a request, a line on standard output its answer; tensors are TensorProtos in JSON.
//
//   {"signature": "serving_default", "inputs": {"text": {"dtype": "DT_STRING", ...}}}
//   {"outputs": {"label": {...}, ...}, "milliseconds": [3.1], "peak_mebibytes": 412.5}
//   {"error": "INVALID_ARGUMENT: ..."}
//
// With --repeat=N a request is answered N times and "milliseconds" has N numbers; --warm_up=N runs before them are not
// counted.

#include <sys/resource.h>

#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/json/json.h"
#include "google/protobuf/struct.pb.h"
#include "tensorflow/c/c_api.h"
#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/cc/saved_model/util.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/public/session.h"
#include "tensorflow/core/util/command_line_flags.h"

namespace {

using google::protobuf::json::JsonStringToMessage;
using google::protobuf::json::MessageToJsonString;
using Inputs = google::protobuf::Map<std::string, tensorflow::TensorProto>;

struct Flags {
  std::string export_dir;
  std::string op_libraries;
  int32_t repeat = 1;
  int32_t warm_up = 0;
  int32_t intra_op_threads = 0;
  int32_t inter_op_threads = 0;
};

struct Answer {
  std::map<std::string, tensorflow::Tensor> outputs;
  std::vector<double> milliseconds;
};

absl::Status LoadOpLibraries(const std::string& paths) {
  for (const auto& path : absl::StrSplit(paths, ',', absl::SkipEmpty())) {
    const std::unique_ptr<TF_Status, void (*)(TF_Status*)> status(TF_NewStatus(), TF_DeleteStatus);
    TF_LoadLibrary(std::string(path).c_str(), status.get());
    if (TF_GetCode(status.get()) != TF_OK) {
      return absl::NotFoundError(TF_Message(status.get()));
    }
  }
  return absl::OkStatus();
}

absl::Status Load(const Flags& flags, tensorflow::SavedModelBundle* bundle) {
  TF_RETURN_IF_ERROR(LoadOpLibraries(flags.op_libraries));
  tensorflow::SessionOptions options;
  options.config.set_intra_op_parallelism_threads(flags.intra_op_threads);
  options.config.set_inter_op_parallelism_threads(flags.inter_op_threads);
  return tensorflow::LoadSavedModel(options, tensorflow::RunOptions(), flags.export_dir,
                                    {"serve"}, bundle);
}

absl::Status ParseRequest(const std::string& line, std::string* signature, Inputs* inputs) {
  google::protobuf::Struct request;
  TF_RETURN_IF_ERROR(JsonStringToMessage(line, &request));
  *signature = (*request.mutable_fields())["signature"].string_value();
  for (const auto& [name, value] : (*request.mutable_fields())["inputs"].struct_value().fields()) {
    std::string tensor;
    TF_RETURN_IF_ERROR(MessageToJsonString(value, &tensor));
    TF_RETURN_IF_ERROR(JsonStringToMessage(tensor, &(*inputs)[name]));
  }
  return absl::OkStatus();
}

// Finds the tensors that the signature stands for and runs the session, with the checks that TensorFlow Serving makes
// and no others: a shape, for one, is not looked at before the graph is.
absl::Status Run(const tensorflow::SavedModelBundle& bundle, const Flags& flags, const std::string& name,
                 const Inputs& inputs, Answer* answer) {
  const auto signature = bundle.GetSignatures().find(name);
  if (signature == bundle.GetSignatures().end()) {
    return absl::FailedPreconditionError(absl::StrCat("Serving signature key \"", name, "\" not found."));
  }
  if (inputs.size() != signature->second.inputs().size()) {
    return absl::InvalidArgumentError(absl::StrCat("input size does not match signature: ", inputs.size(),
                                                   " != ", signature->second.inputs().size()));
  }
  std::vector<std::pair<std::string, tensorflow::Tensor>> feeds;
  TF_RETURN_IF_ERROR(tensorflow::saved_model::GetInputValues(signature->second, inputs, feeds));
  std::vector<std::string> output_names;
  std::vector<std::string> fetches;
  for (const auto& [output_name, info] : signature->second.outputs()) {
    output_names.push_back(output_name);
    fetches.push_back(info.name());
  }
  std::vector<tensorflow::Tensor> outputs;
  for (int run = 0; run < flags.warm_up + flags.repeat; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    TF_RETURN_IF_ERROR(bundle.GetSession()->Run(feeds, fetches, {}, &outputs));
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - begin;
    if (run >= flags.warm_up) answer->milliseconds.push_back(taken.count());
  }
  for (size_t i = 0; i < outputs.size(); ++i) answer->outputs.emplace(output_names[i], outputs[i]);
  return absl::OkStatus();
}

double PeakMebibytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024.0;
}

std::string Quoted(const std::string& text) {
  google::protobuf::Value value;
  value.set_string_value(text);
  std::string quoted;
  TF_CHECK_OK(MessageToJsonString(value, &quoted));
  return quoted;
}

std::string Json(const Answer& answer) {
  std::vector<std::string> outputs;
  for (const auto& [name, tensor] : answer.outputs) {
    tensorflow::TensorProto proto;
    tensor.AsProtoField(&proto);
    std::string json;
    TF_CHECK_OK(MessageToJsonString(proto, &json));
    outputs.push_back(absl::StrCat(Quoted(name), ": ", json));
  }
  return absl::StrCat("{\"outputs\": {", absl::StrJoin(outputs, ", "), "}, \"milliseconds\": [",
                      absl::StrJoin(answer.milliseconds, ", "), "], \"peak_mebibytes\": ", PeakMebibytes(), "}");
}

std::string AnswerTo(const std::string& line, const tensorflow::SavedModelBundle& bundle, const Flags& flags) {
  std::string signature;
  Inputs inputs;
  Answer answer;
  absl::Status status = ParseRequest(line, &signature, &inputs);
  if (status.ok()) status = Run(bundle, flags, signature, inputs, &answer);
  if (!status.ok()) return absl::StrCat("{\"error\": ", Quoted(status.ToString()), "}");
  return Json(answer);
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  const std::vector<tensorflow::Flag> known = {
      tensorflow::Flag("export_dir", &flags.export_dir, "folder of the SavedModel"),
      tensorflow::Flag("op_libraries", &flags.op_libraries, "libraries of its ops, comma-separated"),
      tensorflow::Flag("repeat", &flags.repeat, "counted runs of each request"),
      tensorflow::Flag("warm_up", &flags.warm_up, "runs before them"),
      tensorflow::Flag("intra_op_threads", &flags.intra_op_threads, "threads of one op; 0 lets TensorFlow choose"),
      tensorflow::Flag("inter_op_threads", &flags.inter_op_threads, "ops at once; 0 lets TensorFlow choose"),
  };
  if (!tensorflow::Flags::Parse(&argc, argv, known) || argc != 1 || flags.export_dir.empty()) {
    std::cerr << tensorflow::Flags::Usage(argv[0], known);
    return 2;
  }
  tensorflow::SavedModelBundle bundle;
  const absl::Status status = Load(flags, &bundle);
  if (!status.ok()) {
    std::cerr << status << std::endl;
    return 1;
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << AnswerTo(line, bundle, flags) << std::endl;
  }
  return 0;
}
