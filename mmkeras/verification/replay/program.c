/* Answer a request from a SavedModel through TensorFlow's C API, as a server or a program without Python does.
 *
 *     program BUNDLE REQUEST ANSWER
 *
 * REQUEST, in this machine's byte order: the number of inputs; of each the name of its op, the index of the op's output,
 * the data type, the number of axes, the size of each axis, the values; the number of outputs; of each op and index.
 * ANSWER: of each output the data type, the number of axes, the size of each axis, the values. Numbers are 64-bit
 * integers; a name or a string value is its length and its bytes; other values stand as they are in memory. What is
 * wrong is printed to the standard output: on the other TensorFlow logs. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

#define MOST_AXES 16

static void fail(const char* what) {
  printf("%s\n", what);
  exit(1);
}

static void check(const TF_Status* status) {
  if (TF_GetCode(status) != TF_OK) fail(TF_Message(status));
}

static void* room(size_t size) {
  void* block = calloc(size ? size : 1, 1);
  if (!block) fail("no memory left");
  return block;
}

static void read_bytes(void* bytes, size_t size, FILE* file) {
  if (fread(bytes, 1, size, file) != size) fail("the request ends too early");
}

static void write_bytes(const void* bytes, size_t size, FILE* file) {
  if (fwrite(bytes, 1, size, file) != size) fail("the answer cannot be written");
}

static int64_t read_number(FILE* file) {
  int64_t number;
  read_bytes(&number, sizeof number, file);
  return number;
}

static void write_number(int64_t number, FILE* file) { write_bytes(&number, sizeof number, file); }

static char* read_text(size_t* size, FILE* file) {
  *size = (size_t)read_number(file);
  char* text = room(*size + 1);
  read_bytes(text, *size, file);
  return text;
}

static TF_Output read_place(TF_Graph* graph, FILE* file) {
  size_t size;
  char* name = read_text(&size, file);
  TF_Output place = {TF_GraphOperationByName(graph, name), 0};
  if (!place.oper) {
    printf("the graph has no op %s\n", name);
    exit(1);
  }
  place.index = (int)read_number(file);
  free(name);
  return place;
}

static TF_Tensor* read_tensor(FILE* file) {
  int64_t sizes[MOST_AXES], elements = 1;
  TF_DataType type = (TF_DataType)read_number(file);
  int axes = (int)read_number(file);
  if (axes > MOST_AXES) fail("too many axes");
  for (int i = 0; i < axes; ++i) elements *= sizes[i] = read_number(file);
  size_t bytes = (size_t)elements * (type == TF_STRING ? sizeof(TF_TString) : TF_DataTypeSize(type));
  TF_Tensor* tensor = TF_AllocateTensor(type, sizes, axes, bytes);
  if (type != TF_STRING) {
    read_bytes(TF_TensorData(tensor), bytes, file);
    return tensor;
  }
  TF_TString* strings = TF_TensorData(tensor);
  for (int64_t i = 0; i < elements; ++i) {
    size_t size;
    char* text = read_text(&size, file);
    TF_StringInit(&strings[i]);
    TF_StringCopy(&strings[i], text, size);
    free(text);
  }
  return tensor;
}

static void write_tensor(const TF_Tensor* tensor, FILE* file) {
  write_number(TF_TensorType(tensor), file);
  write_number(TF_NumDims(tensor), file);
  for (int i = 0; i < TF_NumDims(tensor); ++i) write_number(TF_Dim(tensor, i), file);
  if (TF_TensorType(tensor) != TF_STRING) {
    write_bytes(TF_TensorData(tensor), TF_TensorByteSize(tensor), file);
    return;
  }
  const TF_TString* strings = TF_TensorData(tensor);
  for (int64_t i = 0; i < TF_TensorElementCount(tensor); ++i) {
    write_number((int64_t)TF_StringGetSize(&strings[i]), file);
    write_bytes(TF_StringGetDataPointer(&strings[i]), TF_StringGetSize(&strings[i]), file);
  }
}

int main(int count, char** arguments) {
  if (count != 4) fail("expected BUNDLE REQUEST ANSWER");
  FILE* request = fopen(arguments[2], "rb");
  FILE* answer = fopen(arguments[3], "wb");
  if (!request || !answer) fail("the request or the answer cannot be opened");
  const char* tag = "serve";
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Session* session =
      TF_LoadSessionFromSavedModel(options, NULL, arguments[1], &tag, 1, graph, NULL, status);
  check(status);

  int inputs = (int)read_number(request);
  TF_Output* feeds = room(inputs * sizeof *feeds);
  TF_Tensor** values = room(inputs * sizeof *values);
  for (int i = 0; i < inputs; ++i) {
    feeds[i] = read_place(graph, request);
    values[i] = read_tensor(request);
  }
  int outputs = (int)read_number(request);
  TF_Output* fetches = room(outputs * sizeof *fetches);
  TF_Tensor** found = room(outputs * sizeof *found);
  for (int i = 0; i < outputs; ++i) fetches[i] = read_place(graph, request);

  TF_SessionRun(session, NULL, feeds, values, inputs, fetches, found, outputs, NULL, 0, NULL, status);
  check(status);
  for (int i = 0; i < outputs; ++i) write_tensor(found[i], answer);
  if (fclose(answer)) fail("the answer cannot be written");

  for (int i = 0; i < inputs; ++i) TF_DeleteTensor(values[i]);
  for (int i = 0; i < outputs; ++i) TF_DeleteTensor(found[i]);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
