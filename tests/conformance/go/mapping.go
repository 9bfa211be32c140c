package main

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// MappedFile is a file that is mapped read-only until nobody holds the MappedFile any more: in
// substance the MemoryMappedFile of the post. Its data must not be kept longer than itself.
type MappedFile struct {
	data []byte
}

// NewMappedFile maps the file at path.
func NewMappedFile(path string) (*MappedFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var data []byte
	var failed error
	err = raw.Control(func(fd uintptr) {
		data, failed = syscall.Mmap(int(fd), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	mapped := &MappedFile{data}
	runtime.AddCleanup(mapped, func(data []byte) { syscall.Munmap(data) }, data)
	return mapped, nil
}

const marks = "/@deathwatch/"

// oneLife maps a file and lets the mapping die, between two accesses that show in a trace.
func oneLife(path string) {
	map1(path)
	settle()
	syscall.Access(marks+"begin/life", 0)
	map1(path)
	settle()
	syscall.Access(marks+"end/life", 0)
}

//go:noinline
func map1(path string) {
	mapped, err := NewMappedFile(path)
	if err != nil {
		panic(err)
	}
	sink = mapped.data[0]
	runtime.KeepAlive(mapped)
}

var sink byte

// bench says what a cache hit and a registration cost, the best of five rounds.
func bench() map[string]float64 {
	cache, _ := counting()
	value, _ := cache.Get("key")
	hit := best(func(n int) {
		for range n {
			cache.Get("key")
		}
	})
	runtime.KeepAlive(value)
	held := make([]*victim, 100_000)
	register := best(func(n int) {
		for i := range n {
			runtime.AddCleanup(held[i], func(int) {}, 14)
		}
	}, func() {
		for i := range held {
			held[i] = &victim{number: i}
		}
		settle()
	})
	return map[string]float64{"cache_hit_ns": hit, "add_cleanup_ns": register}
}

func best(work func(n int), prepare ...func()) float64 {
	const n = 100_000
	least := time.Duration(1 << 62)
	for range 5 {
		for _, p := range prepare {
			p()
		}
		begin := time.Now()
		work(n)
		least = min(least, time.Since(begin))
	}
	return float64(least.Nanoseconds()) / n
}
