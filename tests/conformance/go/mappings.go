package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

func init() {
	for id, scenario := range map[string]func() string{
		"M1/unmapped": func() string { return unmapped(false) },
		"M1/cycle":    func() string { return unmapped(true) },
		"M2/view":     view,
		"M3/empty":    empty,
		"M4/fifo":     fifo,
	} {
		scenarios[id] = scenario
	}
	inner["M4/fifo"] = func() {
		if _, err := NewMappedFile(os.Getenv("CONFORMANCE_FIFO")); err != nil {
			fmt.Println("refused")
		}
	}
}

// withFile calls use with the path of a file of the given content.
func withFile(content string, use func(path string) string) string {
	folder, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		panic(err)
	}
	return use(path)
}

func maps(path string) int {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		panic(err)
	}
	return strings.Count(string(text), path+"\n")
}

type ring struct {
	mapped *MappedFile
	itself *ring
}

func unmapped(cycle bool) string {
	return withFile("content", func(path string) string {
		before := func() int {
			mapped, err := NewMappedFile(path)
			if err != nil {
				panic(err)
			}
			if cycle {
				r := &ring{mapped: mapped}
				r.itself = r
				defer runtime.KeepAlive(r)
			}
			defer runtime.KeepAlive(mapped)
			return maps(path)
		}()
		settle()
		return fmt.Sprintf("%d, then %d mappings", before, maps(path))
	})
}

func view() string {
	return withFile("content", func(path string) string {
		data := func() []byte {
			mapped, err := NewMappedFile(path)
			if err != nil {
				panic(err)
			}
			return mapped.data
		}()
		settle()
		// To read would be a fault, or whatever has been mapped at that address since.
		outcome := either(maps(path) == 0, "unmapped under the view", "readable")
		runtime.KeepAlive(data)
		return outcome
	})
}

func empty() string {
	return withFile("", func(path string) string {
		_, err := NewMappedFile(path)
		return either(err == nil, "empty", "an error")
	})
}

func fifo() string {
	return withFile("", func(path string) string {
		name := path + ".fifo"
		if err := exec.Command("mkfifo", name).Run(); err != nil {
			panic(err)
		}
		os.Setenv("CONFORMANCE_FIFO", name)
		done := make(chan string, 1)
		go func() {
			output, _ := other("M4/fifo")
			done <- output
		}()
		select {
		case output := <-done:
			return either(output == "refused", "an OSError at once", output)
		case <-time.After(2 * time.Second):
			// A writer lets the other process go on, and end.
			if file, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
				file.Close()
			}
			<-done
			return "hung for 2 s"
		}
	})
}
