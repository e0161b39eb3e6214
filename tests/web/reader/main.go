// A reader of govern's logs that shares no code with it: the Go team's own log and note packages.
//
// Usage: reader URL VKEY USER PASSWORD [SIZE ROOT]
// It checks the signature, every tile, every entry against the signed root and, given an earlier
// head, that the log only grew since. It prints "SIZE ROOT".
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func get(path string) []byte {
	request, err := http.NewRequest("GET", os.Args[1]+"/"+path, nil)
	check(err)
	request.SetBasicAuth(os.Args[3], os.Args[4])
	answer, err := http.DefaultClient.Do(request)
	check(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	check(err)
	if answer.StatusCode != 200 {
		check(fmt.Errorf("%s: %s", path, answer.Status))
	}
	return body
}

// path is a tile's address in tlog-tiles, which always has height 8 and does not say so.
func path(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
}

// reader keeps the tiles that it has read: each proof asks for a few of the same.
type reader map[string][]byte

func (reader) Height() int { return 8 }

func (kept reader) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range tiles {
		name := path(tile)
		if kept[name] == nil {
			kept[name] = get(name)
		}
		data = append(data, kept[name])
	}
	return data, nil
}

func (reader) SaveTiles([]tlog.Tile, [][]byte) {}

func main() {
	verifier, err := note.NewVerifier(os.Args[2])
	check(err)
	signed, err := note.Open(get("checkpoint"), note.VerifierList(verifier))
	check(err)
	lines := strings.Split(signed.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(lines[2])
	check(err)
	hashes := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, reader{})

	found, err := tlog.TreeHash(size, hashes)
	check(err)
	if found != root {
		check(fmt.Errorf("the tiles lead to %v", found))
	}
	for first := int64(0); first < size; first += 256 {
		tile := tlog.Tile{H: 8, L: 0, N: first / 256, W: 256}
		if size-first < 256 {
			tile.W = int(size - first)
		}
		bundle := get(strings.Replace(path(tile), "tile/0/", "tile/entries/", 1))
		for n := first; n < first+int64(tile.W); n++ {
			length := int(binary.BigEndian.Uint16(bundle))
			entry := bundle[2 : 2+length]
			bundle = bundle[2+length:]
			proof, err := tlog.ProveRecord(size, n, hashes)
			check(err)
			check(tlog.CheckRecord(proof, size, root, n, tlog.RecordHash(entry)))
		}
	}
	if len(os.Args) > 5 {
		old, err := strconv.ParseInt(os.Args[5], 10, 64)
		check(err)
		before, err := tlog.ParseHash(os.Args[6])
		check(err)
		proof, err := tlog.ProveTree(size, old, hashes)
		check(err)
		check(tlog.CheckTree(proof, size, root, old, before))
	}
	fmt.Println(size, root)
}
