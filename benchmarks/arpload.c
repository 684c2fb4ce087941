/* arpload: asks ARP or NDP questions on one interface as fast, or as regularly, as told, checks every answer, and prints one JSON object.
 *
 * It also sends UDP datagrams over IPv6 (to load a router); those expect no answer. It spins on one core: frames arrive through a TPACKET_V2
 * ring without a system call and leave by sendmmsg, so that it costs less than what it measures. What it does not do: measure CPU.
 * The harness (benchmarks/harness/load.py) starts it and reads its output; `usage` below lists the options.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PACKET_IGNORE_OUTGOING_ 23
#define BATCH 64
#define FRAME_SIZE 86u               /* the longest frame we send: a solicitation with its option */
#define RING_SLOT 256u
#define RING_SLOTS (1u << 14)
#define RING_BLOCK (1u << 20)
#define PENDING_MAX (1u << 18)       /* requests without an answer yet, a power of two */
#define NOBODY UINT32_MAX
#define SECOND 1000000000ull
#define FAIL(...) (fprintf(stderr, "arpload: " __VA_ARGS__), fputc('\n', stderr), exit(2))

enum protocol { ARP, NDP, UDP6 };

/* One request that was sent. Requests are remembered in the order of sending; those for one target are chained, oldest first. */
struct request { uint64_t sent_at; uint32_t target, next; bool open; };
struct target { uint8_t address[16]; uint32_t oldest, newest; };

/* A list of addresses and the ready-made frame for each. */
struct questions { struct target *target; uint8_t *frames; uint32_t count, cursor; unsigned length; };

static enum protocol protocol;
static size_t width = 4;             /* octets of an address */
static uint8_t own_mac[6], node_mac[6], source[16];
static struct questions owned, foreign;

static struct request *requests;
static uint32_t first_request, end_request, pending;
static uint32_t *table, table_mask;  /* owned.target by address: open addressing */

static struct {
	uint64_t sent, answered, lost, bad, unasked, late, announcements, foreign_sent, refused;
	uint64_t answered_in_all, sent_in_all, first_answer;
} counted;

/* Latencies in nanoseconds: 64 steps for each power of two, 1.6 % wide. */
#define STEPS 64
static uint64_t histogram[64 * STEPS], latency_count;

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void note_latency(uint64_t ns)
{
	unsigned shift = ns < STEPS ? 0 : 58 - (unsigned)__builtin_clzll(ns);
	histogram[shift ? shift * STEPS + (ns >> (shift - 1)) % STEPS : ns]++;
	latency_count++;
}

static double latency_us(double share)
{
	uint64_t wanted = (uint64_t)((double)latency_count * share), seen = 0;
	for (unsigned i = 0; i < 64 * STEPS; i++) {
		seen += histogram[i];
		if (histogram[i] && seen > wanted)
			return (i < STEPS ? (double)i : ((double)(STEPS + i % STEPS) + .5) * (double)(1ull << (i / STEPS - 1))) / 1000;
	}
	return 0;
}

static uint32_t slot_of(const uint8_t *address)
{
	uint64_t hash = 14695981039346656037ull;
	for (size_t i = 0; i < width; i++) hash = (hash ^ address[i]) * 1099511628211ull;
	return (uint32_t)(hash ^ hash >> 32) & table_mask;
}

static uint32_t find_target(const uint8_t *address)
{
	for (uint32_t at = slot_of(address); table[at] != NOBODY; at = (at + 1) & table_mask)
		if (!memcmp(owned.target[table[at]].address, address, width)) return table[at];
	return NOBODY;
}

static void index_targets(void)
{
	for (table_mask = 1; table_mask < owned.count * 2; table_mask *= 2) ;
	table = malloc(table_mask * sizeof *table);
	memset(table, 0xff, table_mask-- * sizeof *table);
	for (uint32_t i = 0; i < owned.count; i++) {
		uint32_t at = slot_of(owned.target[i].address);
		while (table[at] != NOBODY) at = (at + 1) & table_mask;
		table[at] = i;
	}
}

/* The ones' complement sum of an IPv6 payload with its pseudo header, ready for the packet; 0 over a packet whose sum is right. */
static uint16_t checksum(const uint8_t *ip, unsigned length)
{
	uint32_t sum = ip[6] + length;
	for (unsigned i = 8; i < 40 + length; i += 2) sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static unsigned build_arp(uint8_t *frame, const uint8_t *target)
{
	static const uint8_t start[] = { 8, 6, 0, 1, 8, 0, 6, 4, 0, 1 };
	memset(frame, 0xff, 6);
	memcpy(frame + 12, start, sizeof start);
	memcpy(frame + 22, own_mac, 6);
	memcpy(frame + 28, source, 4);
	memcpy(frame + 38, target, 4);
	return 42;
}

static void build_ipv6(uint8_t *frame, uint8_t next_header, uint8_t hop_limit, uint8_t length)
{
	frame[12] = 0x86; frame[13] = 0xdd;
	frame[14] = 0x60; frame[19] = length; frame[20] = next_header; frame[21] = hop_limit;
	memcpy(frame + 22, source, 16);
}

static unsigned build_ndp(uint8_t *frame, const uint8_t *target)
{
	static const uint8_t group[] = { 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff };
	build_ipv6(frame, IPPROTO_ICMPV6, 255, 32);
	memcpy(frame + 38, group, sizeof group);
	memcpy(frame + 51, target + 13, 3);
	frame[0] = frame[1] = 0x33;
	memcpy(frame + 2, frame + 50, 4);
	frame[54] = 135;
	memcpy(frame + 62, target, 16);
	frame[78] = frame[79] = 1;       /* source link-layer address option, one unit of eight octets */
	memcpy(frame + 80, own_mac, 6);
	uint16_t sum = checksum(frame + 14, 32);
	frame[56] = (uint8_t)(sum >> 8); frame[57] = (uint8_t)sum;
	return 86;
}

static unsigned build_udp(uint8_t *frame, const uint8_t *target)
{
	build_ipv6(frame, IPPROTO_UDP, 64, 32);
	memcpy(frame, node_mac, 6);
	memcpy(frame + 38, target, 16);
	frame[55] = 9; frame[57] = 9;    /* discard to discard */
	frame[59] = 32;
	uint16_t sum = checksum(frame + 14, 32);
	frame[60] = (uint8_t)(sum >> 8); frame[61] = (uint8_t)sum;
	return 86;
}

static void build(struct questions *q)
{
	q->frames = calloc(q->count, FRAME_SIZE);
	for (uint32_t i = 0; i < q->count; i++) {
		uint8_t *frame = q->frames + (size_t)i * FRAME_SIZE, *target = q->target[i].address;
		memcpy(frame + 6, own_mac, 6);
		q->length = protocol == ARP ? build_arp(frame, target) : protocol == NDP ? build_ndp(frame, target) : build_udp(frame, target);
	}
}

static void parse_address(const char *text, uint8_t *out)
{
	if (inet_pton(width == 4 ? AF_INET : AF_INET6, text, out) != 1) FAIL("not an address of the protocol: %s", text);
}

static void read_targets(struct questions *q, const char *path)
{
	char line[64];
	uint32_t room = 0;
	FILE *file = fopen(path, "r");
	if (!file) FAIL("%s: %m", path);
	while (fscanf(file, "%63s", line) == 1) {
		if (q->count == room) q->target = realloc(q->target, (room = room * 2 + 64) * sizeof *q->target);
		struct target *t = &q->target[q->count++];
		*t = (struct target){ .oldest = NOBODY, .newest = NOBODY };
		parse_address(line, t->address);
	}
	fclose(file);
	if (!q->count) FAIL("%s: holds no address", path);
}

static void note_request(uint32_t target, uint64_t now)
{
	uint32_t id = end_request & (PENDING_MAX - 1);
	if (end_request - first_request == PENDING_MAX) FAIL("more than %u requests wait for an answer", PENDING_MAX);
	requests[id] = (struct request){ now, target, NOBODY, true };
	struct target *t = &owned.target[target];
	if (t->newest == NOBODY) t->oldest = id; else requests[t->newest].next = id;
	t->newest = id;
	end_request++;
	pending++;
}

/* Close the oldest open request of a target. */
static void close_request(struct target *t)
{
	struct request *r = &requests[t->oldest];
	r->open = false;
	pending--;
	t->oldest = r->next;
	if (r->next == NOBODY) t->newest = NOBODY;
}

static void note_answer(const uint8_t *address, uint64_t now)
{
	uint32_t found = find_target(address);
	if (found == NOBODY) { counted.unasked++; return; }
	struct target *t = &owned.target[found];
	if (t->oldest == NOBODY) { counted.late++; return; }
	note_latency(now - requests[t->oldest].sent_at);
	close_request(t);
	counted.answered++;
	counted.answered_in_all++;
	if (!counted.first_answer) counted.first_answer = clock_ns(CLOCK_REALTIME);
}

/* Give up requests that were sent before an instant. */
static void expire(uint64_t before)
{
	while (first_request != end_request) {
		struct request *r = &requests[first_request & (PENDING_MAX - 1)];
		if (r->open && r->sent_at > before) return;
		if (r->open) { close_request(&owned.target[r->target]); counted.lost++; }
		first_request++;
	}
}

/* The responder's MAC must be that of the node, in the Ethernet header as in the packet. */
static bool good_arp(const uint8_t *f, unsigned length)
{
	static const uint8_t start[] = { 8, 6, 0, 1, 8, 0, 6, 4, 0, 2 };
	return length >= 42 && !memcmp(f, own_mac, 6) && !memcmp(f + 6, node_mac, 6) && !memcmp(f + 12, start, sizeof start)
		&& !memcmp(f + 22, node_mac, 6) && !memcmp(f + 32, own_mac, 6) && !memcmp(f + 38, source, 4);
}

/* Solicited, to us, with a right checksum and the node's MAC in the target link-layer address option. */
static bool good_ndp(const uint8_t *f, unsigned length)
{
	return length >= 86 && !memcmp(f, own_mac, 6) && !memcmp(f + 6, node_mac, 6) && f[19] == 32 && !f[18] && f[21] == 255
		&& !memcmp(f + 38, source, 16) && !f[55] && f[58] & 0x40 && f[78] == 2 && f[79] == 1 && !memcmp(f + 80, node_mac, 6)
		&& !checksum(f + 14, 32);
}

static void receive(const uint8_t *frame, unsigned length, uint64_t now)
{
	if (frame[0] & 1) { counted.announcements++; return; }
	if (!(protocol == ARP ? good_arp(frame, length) : good_ndp(frame, length))) { counted.bad++; return; }
	note_answer(frame + (protocol == ARP ? 28 : 62), now);
}

static uint8_t *open_ring(int index)
{
	struct sock_filter arp[] = {     /* opcode reply */
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 20), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, RING_SLOT), BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_filter ndp[] = {     /* ICMPv6, neighbor advertisement */
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 20), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 3),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 54), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 136, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, RING_SLOT), BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_fprog program = { protocol == ARP ? 4 : 6, protocol == ARP ? arp : ndp };
	struct tpacket_req size = { RING_BLOCK, RING_SLOTS / (RING_BLOCK / RING_SLOT), RING_SLOT, RING_SLOTS };
	struct sockaddr_ll where = { .sll_family = AF_PACKET, .sll_ifindex = index, .sll_protocol = htons(protocol == ARP ? ETH_P_ARP : ETH_P_IPV6) };
	int one = 1, version = TPACKET_V2, fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0) FAIL("packet socket: %m");
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program)
	    || setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING_, &one, sizeof one)
	    || setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version)
	    || setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &size, sizeof size)) FAIL("receive ring: %m");
	uint8_t *ring = mmap(NULL, RING_SLOT * RING_SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (ring == MAP_FAILED || bind(fd, (void *)&where, sizeof where)) FAIL("receive ring: %m");
	return ring;
}

static void drain(uint8_t *ring)
{
	static uint32_t slot;
	for (;;) {
		struct tpacket2_hdr *head = (void *)(ring + (size_t)slot * RING_SLOT);
		if (!(__atomic_load_n(&head->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER)) return;
		receive((uint8_t *)head + head->tp_mac, head->tp_snaplen, clock_ns(CLOCK_MONOTONIC));
		__atomic_store_n(&head->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		slot = (slot + 1) % RING_SLOTS;
	}
}

static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];

/* Add up to `wanted` frames, in turn, behind the `filled` ones of the batch. Returns how many are in it then. */
static unsigned fill(struct questions *q, uint64_t wanted, unsigned filled, bool remember, uint64_t now)
{
	for (; filled < BATCH && wanted; wanted--, filled++) {
		vectors[filled] = (struct iovec){ q->frames + (size_t)q->cursor * FRAME_SIZE, q->length };
		if (remember) note_request(q->cursor, now);
		q->cursor = q->cursor + 1 == q->count ? 0 : q->cursor + 1;
	}
	return filled;
}

static void transmit(int fd, unsigned count)
{
	for (unsigned done = 0; done < count; ) {
		int now = sendmmsg(fd, messages + done, count - done, 0);
		if (now < 0 && errno != EINTR) { counted.refused++; done++; }
		if (now > 0) done += (unsigned)now;
	}
}

static int open_sender(const char *device, int *index)
{
	struct ifreq request = { 0 };
	int one = 1, fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0) FAIL("packet socket: %m");
	strncpy(request.ifr_name, device, IFNAMSIZ - 1);
	if (!(*index = (int)if_nametoindex(device)) || ioctl(fd, SIOCGIFHWADDR, &request)) FAIL("interface %s: %m", device);
	memcpy(own_mac, request.ifr_hwaddr.sa_data, 6);
	struct sockaddr_ll where = { .sll_family = AF_PACKET, .sll_ifindex = *index };
	if (bind(fd, (void *)&where, sizeof where)) FAIL("interface %s: %m", device);
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
	for (int i = 0; i < BATCH; i++) messages[i].msg_hdr = (struct msghdr){ .msg_iov = &vectors[i], .msg_iovlen = 1 };
	return fd;
}

static uint64_t due(double rate, uint64_t since, uint64_t sent)
{
	uint64_t should = (uint64_t)(rate * (double)since / (double)SECOND);
	return should > sent ? should - sent : 0;
}

static const char usage[] =
	"usage: arpload --device NAME --protocol arp|ndp|udp6 --source ADDRESS --node-mac MAC --targets FILE (--window N | --rate PER_SECOND)\n"
	"               [--foreign FILE --foreign-rate PER_SECOND] [--seconds S] [--warm-up S] [--time-out S] [--core N] [--until-first]";

static struct {
	const char *device, *source, *targets, *foreign;
	double rate, foreign_rate, seconds, warm_up, time_out;
	unsigned window;
	int core;
	bool until_first;
} option = { .seconds = 1, .warm_up = .2, .time_out = .5, .core = -1 };

static void parse_mac(const char *text, uint8_t *m)
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6) FAIL("not a hardware address: %s", text);
}

static void parse_protocol(const char *text)
{
	static const char *const name[] = { "arp", "ndp", "udp6" };
	for (protocol = ARP; protocol <= UDP6; protocol++) if (!strcmp(text, name[protocol])) break;
	if (protocol > UDP6) FAIL("protocol %s: arp, ndp or udp6", text);
	width = protocol == ARP ? 4 : 16;
}

static void parse_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "device", 1, 0, 'd' }, { "protocol", 1, 0, 'p' }, { "source", 1, 0, 's' }, { "node-mac", 1, 0, 'm' }, { "targets", 1, 0, 't' },
		{ "window", 1, 0, 'w' }, { "rate", 1, 0, 'r' }, { "foreign", 1, 0, 'f' }, { "foreign-rate", 1, 0, 'F' }, { "seconds", 1, 0, 'S' },
		{ "warm-up", 1, 0, 'W' }, { "time-out", 1, 0, 'o' }, { "core", 1, 0, 'c' }, { "until-first", 0, 0, 'u' }, { 0 } };
	bool have_mac = false;
	for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1; ) switch (c) {
		case 'd': option.device = optarg; break;
		case 'p': parse_protocol(optarg); break;
		case 's': option.source = optarg; break;
		case 'm': parse_mac(optarg, node_mac); have_mac = true; break;
		case 't': option.targets = optarg; break;
		case 'w': option.window = (unsigned)atoi(optarg); break;
		case 'r': option.rate = atof(optarg); break;
		case 'f': option.foreign = optarg; break;
		case 'F': option.foreign_rate = atof(optarg); break;
		case 'S': option.seconds = atof(optarg); break;
		case 'W': option.warm_up = atof(optarg); break;
		case 'o': option.time_out = atof(optarg); break;
		case 'c': option.core = atoi(optarg); break;
		case 'u': option.until_first = true; break;
		default: FAIL("%s", usage);
	}
	if (!option.device || !option.source || !option.targets || !have_mac || (!option.window && option.rate <= 0)) FAIL("%s", usage);
	if ((option.foreign_rate > 0) != !!option.foreign || (protocol == UDP6 && option.window)) FAIL("%s", usage);
	parse_address(option.source, source);
}

static void pin(int core)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof set, &set)) FAIL("core %d: %m", core);
}

/* Forget what was counted while warming up; requests on their way stay. */
static void start_measuring(void)
{
	uint64_t answered = counted.answered_in_all, sent = counted.sent_in_all, first = counted.first_answer, foreign_sent = counted.foreign_sent;
	memset(&counted, 0, sizeof counted);
	memset(histogram, 0, sizeof histogram);
	latency_count = 0;
	counted.answered_in_all = answered; counted.sent_in_all = sent; counted.first_answer = first; counted.foreign_sent = foreign_sent;
}

/* Ask until the time is over, or until the first answer, then wait for what is on its way. Sets the seconds measured, and the answers that
 * came in them; `counted` holds those that came after as well. */
static void run(int fd, uint8_t *ring, double *seconds, uint64_t *answered)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), measure = start + (uint64_t)(option.warm_up * 1e9), swept = start;
	uint64_t stop = measure + (uint64_t)(option.seconds * 1e9), time_out = (uint64_t)(option.time_out * 1e9), begun = 0, now = start;
	while (now < stop && !(option.until_first && counted.first_answer)) {
		drain(ring);
		now = clock_ns(CLOCK_MONOTONIC);
		if (!begun && now >= measure) { begun = now; start_measuring(); }
		if (now - swept > SECOND / 1000) { expire(now - time_out); swept = now; }
		uint64_t wanted = option.window ? option.window - (pending < option.window ? pending : option.window)
		                                : due(option.rate, now - start, counted.sent_in_all);
		unsigned asked = fill(&owned, wanted, 0, protocol != UDP6, now);
		unsigned all = foreign.count ? fill(&foreign, due(option.foreign_rate, now - start, counted.foreign_sent), asked, false, now) : asked;
		transmit(fd, all);
		if (option.until_first) usleep(100);    /* the first answer matters, not the load: leave the core to others */
		counted.sent += asked;
		counted.sent_in_all += asked;
		counted.foreign_sent += all - asked;
	}
	*seconds = begun ? (double)(now - begun) / 1e9 : 0;
	*answered = counted.answered;
	while (pending && clock_ns(CLOCK_MONOTONIC) < now + time_out && !option.until_first) drain(ring);
	expire(UINT64_MAX);
}

static void print(double seconds, uint64_t answered)
{
	printf("{\"seconds\":%.4f,\"sent\":%lu,\"answered\":%lu,\"answers_per_second\":%.0f,\"lost\":%lu,\"bad\":%lu,\"unasked\":%lu,\"late\":%lu,"
	       "\"announcements\":%lu,\"refused\":%lu,\"sent_in_all\":%lu,\"answered_in_all\":%lu,\"foreign_sent_in_all\":%lu,\"first_answer\":%.6f,",
	       seconds, counted.sent, counted.answered, seconds > 0 ? (double)answered / seconds : 0, counted.lost, counted.bad, counted.unasked,
	       counted.late, counted.announcements, counted.refused, counted.sent_in_all, counted.answered_in_all, counted.foreign_sent,
	       (double)counted.first_answer / 1e9);
	printf("\"latency_us\":{\"p50\":%.2f,\"p99\":%.2f,\"p99.9\":%.2f}}\n", latency_us(.5), latency_us(.99), latency_us(.999));
}

int main(int argc, char **argv)
{
	int index;
	double seconds;
	uint64_t answered;
	parse_options(argc, argv);
	if (option.core >= 0) pin(option.core);
	int fd = open_sender(option.device, &index);
	uint8_t *ring = open_ring(index);
	read_targets(&owned, option.targets);
	build(&owned);
	if (option.foreign) { read_targets(&foreign, option.foreign); build(&foreign); }
	index_targets();
	requests = calloc(PENDING_MAX, sizeof *requests);
	run(fd, ring, &seconds, &answered);
	print(seconds, answered);
	return 0;
}
