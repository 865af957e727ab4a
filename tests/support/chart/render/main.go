// Renders a Helm chart as `helm template` does, with nothing but Debian packages: Go's text/template,
// sprig (the same library of functions) and sigs.k8s.io/yaml. What Helm has beside (subcharts,
// dependencies, a cluster to look at) is refused or empty.
//
//	render CHART [-name N] [-namespace NS] [-kube-version V] [-api-version V]... [-f FILE]...
//	       [-set PATH=JSON]...
//
// One JSON object on standard output: values (those in force), templates (path: text, NOTES.txt
// too), error ("" when all went well; then templates are whole). Exit status 2: wrong usage.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"sigs.k8s.io/yaml"
)

type options struct {
	chart, name, namespace, kubeVersion string
	apiVersions, files, sets            []string
}

type answer struct {
	Values    map[string]interface{} `json:"values"`
	Templates map[string]string      `json:"templates"`
	Error     string                 `json:"error"`
}

func usage(what string) {
	fmt.Fprintln(os.Stderr, "render: "+what)
	os.Exit(2)
}

func parse(arguments []string) options {
	o := options{name: "pawl", namespace: "default", kubeVersion: "v1.33.0"}
	single := map[string]*string{"-name": &o.name, "-namespace": &o.namespace,
		"-kube-version": &o.kubeVersion}
	many := map[string]*[]string{"-f": &o.files, "-set": &o.sets, "-api-version": &o.apiVersions}
	for i := 0; i < len(arguments); i++ {
		word := arguments[i]
		if !strings.HasPrefix(word, "-") {
			if o.chart != "" {
				usage("more than one chart")
			}
			o.chart = word
			continue
		}
		if i+1 == len(arguments) {
			usage("a value is missing after " + word)
		}
		i++
		if target, ok := single[word]; ok {
			*target = arguments[i]
		} else if list, ok := many[word]; ok {
			*list = append(*list, arguments[i])
		} else {
			usage("not an option: " + word)
		}
	}
	if o.chart == "" {
		usage("no chart")
	}
	return o
}

// readYAML reads a mapping; numbers are float64, as Helm has them.
func readYAML(path string, into interface{}) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// lay puts over onto base: mappings merge, null takes a key away, all else is replaced.
func lay(base, over map[string]interface{}) {
	for key, value := range over {
		old, isMap := base[key].(map[string]interface{})
		fresh, isAlso := value.(map[string]interface{})
		switch {
		case value == nil:
			delete(base, key)
		case isMap && isAlso:
			lay(old, fresh)
		default:
			base[key] = value
		}
	}
}

// set reads "a.b.c=JSON"; what is no JSON is a text.
func set(values map[string]interface{}, text string) error {
	path, value, found := strings.Cut(text, "=")
	if !found {
		return fmt.Errorf("-set %s: write PATH=JSON", text)
	}
	var parsed interface{}
	if json.Unmarshal([]byte(value), &parsed) != nil {
		parsed = value
	}
	keys := strings.Split(path, ".")
	for i := len(keys) - 1; i > 0; i-- {
		parsed = map[string]interface{}{keys[i]: parsed}
	}
	lay(values, map[string]interface{}{keys[0]: parsed})
	return nil
}

func loadValues(o options) (map[string]interface{}, error) {
	values := map[string]interface{}{}
	if err := readYAML(filepath.Join(o.chart, "values.yaml"), &values); err != nil {
		return nil, err
	}
	for _, file := range o.files {
		over := map[string]interface{}{}
		if err := readYAML(file, &over); err != nil {
			return nil, err
		}
		lay(values, over)
	}
	for _, text := range o.sets {
		if err := set(values, text); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func loadFiles(chart string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.Walk(chart, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(chart, path)
		files[filepath.ToSlash(name)] = data
		return err
	})
	return files, err
}

func run(o options, a *answer) error {
	values, err := loadValues(o)
	if err != nil {
		return err
	}
	a.Values = values
	files, err := loadFiles(o.chart)
	if err != nil {
		return err
	}
	chart := metadata{}
	if err := yaml.UnmarshalStrict(files["Chart.yaml"], &chart); err != nil {
		return fmt.Errorf("Chart.yaml: %w", err)
	}
	top, err := newTop(o, chart, values, files)
	if err != nil {
		return err
	}
	names := []string{}
	for name := range files {
		if strings.HasPrefix(name, "templates/") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	a.Templates, err = render(chart.Name, names, files, top)
	return err
}

func main() {
	a := answer{}
	if err := run(parse(os.Args[1:]), &a); err != nil {
		a.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		usage(err.Error())
	}
}
