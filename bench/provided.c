/* A function of its own runtime, for the cold start row: answers with the instant at which the process began. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buffer[65536];

/* One request over a kept connection; the whole answer is in `buffer`. */
static void ask(int sock, const char *text, size_t size) {
    size_t got = 0;
    if (write(sock, text, size) != (ssize_t)size) exit(2);
    for (;;) {
        ssize_t n = read(sock, buffer + got, sizeof buffer - 1 - got);
        if (n <= 0) exit(3);
        got += (size_t)n;
        buffer[got] = 0;
        char *body = strstr(buffer, "\r\n\r\n"), *length = strcasestr(buffer, "content-length:");
        if (body && got >= (size_t)(body + 4 - buffer) + (length && length < body ? strtoul(length + 15, 0, 10) : 0)) return;
    }
}

int main(void) {
    struct timespec began;
    clock_gettime(CLOCK_REALTIME, &began);
    char host[64] = "127.0.0.1", request[512], body[64], id[64];
    const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
    char *colon = api ? strrchr(api, ':') : 0;
    int port = colon ? atoi(colon + 1) : 80, one = 1;
    if (api) snprintf(host, sizeof host, "%.*s", (int)(colon ? colon - api : (long)strlen(api)), api);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    inet_pton(AF_INET, host, &address.sin_addr);
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(sock, (struct sockaddr *)&address, sizeof address)) return 1;
    int answer = snprintf(body, sizeof body, "%ld.%06ld", (long)began.tv_sec, began.tv_nsec / 1000);
    for (;;) {
        int size = snprintf(request, sizeof request, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: %s\r\n\r\n", api);
        ask(sock, request, (size_t)size);
        char *found = strcasestr(buffer, "lambda-runtime-aws-request-id:");
        if (!found || sscanf(found + 30, " %63[^\r]", id) != 1) return 4;
        size = snprintf(request, sizeof request,
                        "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s",
                        id, api, answer, body);
        ask(sock, request, (size_t)size);
    }
}
