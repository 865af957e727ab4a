package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"text/template"

	"github.com/Masterminds/semver"
	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

const includesMax = 1000 // of one template inside itself

// metadata is Chart.yaml, all of what apiVersion v2 knows but dependencies.
type metadata struct {
	APIVersion  string            `json:"apiVersion"`
	Name        string            `json:"name"`
	Version     string            `json:"version"`
	AppVersion  string            `json:"appVersion"`
	KubeVersion string            `json:"kubeVersion"`
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Home        string            `json:"home"`
	Icon        string            `json:"icon"`
	Keywords    []string          `json:"keywords"`
	Sources     []string          `json:"sources"`
	Annotations map[string]string `json:"annotations"`
	Maintainers []struct {
		Name  string `json:"name"`
		Email string `json:"email"`
		URL   string `json:"url"`
	} `json:"maintainers"`
	Deprecated bool `json:"deprecated"`
}

type kubeVersion struct{ Version, Major, Minor, GitVersion string }

func (k kubeVersion) String() string { return k.Version }

type apiVersions []string

// Has is .Capabilities.APIVersions.Has.
func (a apiVersions) Has(name string) bool {
	for _, one := range a {
		if one == name {
			return true
		}
	}
	return false
}

// files is .Files: what lies in the chart beside templates.
type files map[string][]byte

func (f files) Get(name string) string      { return string(f[name]) }
func (f files) GetBytes(name string) []byte { return f[name] }

func (f files) Glob(pattern string) (files, error) {
	found := files{}
	for name, data := range f {
		matched, err := path.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if matched {
			found[name] = data
		}
	}
	return found, nil
}

func (f files) Lines(name string) []string {
	return strings.Split(strings.TrimSuffix(string(f[name]), "\n"), "\n")
}

func (f files) AsConfig() string {
	texts := map[string]string{}
	for name, data := range f {
		texts[path.Base(name)] = string(data)
	}
	return toYAML(texts)
}

func (f files) AsSecrets() string {
	texts := map[string]string{}
	for name, data := range f {
		texts[path.Base(name)] = base64.StdEncoding.EncodeToString(data)
	}
	return toYAML(texts)
}

// newTop is the dot of the templates.
func newTop(o options, chart metadata, values map[string]interface{}, all map[string][]byte) (
	map[string]interface{}, error) {
	version, err := semver.NewVersion(o.kubeVersion)
	if err != nil {
		return nil, fmt.Errorf("-kube-version %s: %w", o.kubeVersion, err)
	}
	if chart.APIVersion != "v2" || chart.Name == "" {
		return nil, errors.New("Chart.yaml: apiVersion v2 and a name are needed")
	}
	if chart.KubeVersion != "" {
		wanted, err := semver.NewConstraint(chart.KubeVersion)
		if err != nil {
			return nil, fmt.Errorf("Chart.yaml: kubeVersion: %w", err)
		}
		if !wanted.Check(version) {
			return nil, fmt.Errorf("chart requires kubeVersion: %s which is incompatible with "+
				"Kubernetes %s", chart.KubeVersion, o.kubeVersion)
		}
	}
	beside := files{}
	for name, data := range all {
		if !strings.HasPrefix(name, "templates/") {
			beside[name] = data
		}
	}
	return map[string]interface{}{
		"Values": values,
		"Chart":  chart,
		"Files":  beside,
		"Release": map[string]interface{}{"Name": o.name, "Namespace": o.namespace,
			"Service": "Helm", "IsInstall": true, "IsUpgrade": false, "Revision": 1},
		"Capabilities": map[string]interface{}{
			"KubeVersion": kubeVersion{o.kubeVersion, fmt.Sprint(version.Major()),
				fmt.Sprint(version.Minor()), o.kubeVersion},
			"APIVersions": apiVersions(append([]string{"v1", "apps/v1"}, o.apiVersions...)),
			"HelmVersion": map[string]string{"Version": "v3.0.0", "GoVersion": "go"},
		},
	}, nil
}

func toYAML(value interface{}) string {
	data, err := yaml.Marshal(value)
	if err != nil {
		return "" // as Helm does
	}
	return strings.TrimSuffix(string(data), "\n")
}

func fromYAML(text string) map[string]interface{} {
	out := map[string]interface{}{}
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		out["Error"] = err.Error()
	}
	return out
}

func fromYAMLArray(text string) []interface{} {
	out := []interface{}{}
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		out = []interface{}{err.Error()}
	}
	return out
}

func toJSON(value interface{}) string {
	data, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(data)
}

func required(what string, value interface{}) (interface{}, error) {
	if text, isText := value.(string); value == nil || (isText && text == "") {
		return value, errors.New(what)
	}
	return value, nil
}

// lookup finds nothing: there is no cluster.
func lookup(string, string, string, string) map[string]interface{} {
	return map[string]interface{}{}
}

// functions are sprig's and Helm's own. The environment is not the chart's business.
func functions(all *template.Template) template.FuncMap {
	depth := map[string]int{}
	functions := sprig.TxtFuncMap()
	delete(functions, "env")
	delete(functions, "expandenv")
	run := func(t *template.Template, name string, dot interface{}) (string, error) {
		var out strings.Builder
		if depth[name] > includesMax {
			return "", fmt.Errorf("%s includes itself without end", name)
		}
		depth[name]++
		err := t.ExecuteTemplate(&out, name, dot)
		depth[name]--
		return strings.ReplaceAll(out.String(), "<no value>", ""), err
	}
	own := template.FuncMap{
		"toYaml": toYAML, "fromYaml": fromYAML, "fromYamlArray": fromYAMLArray, "toJson": toJSON,
		"fromJson": fromYAML, "fromJsonArray": fromYAMLArray, "required": required, "lookup": lookup,
		"include": func(name string, dot interface{}) (string, error) { return run(all, name, dot) },
		"tpl": func(text string, dot interface{}) (string, error) {
			clone, err := all.Clone()
			if err != nil {
				return "", err
			}
			if _, err := clone.New("tpl").Parse(text); err != nil {
				return "", err
			}
			return run(clone, "tpl", dot)
		},
	}
	for name, function := range own {
		functions[name] = function
	}
	return functions
}

// render executes every template but partials ("_...").
func render(chart string, names []string, all map[string][]byte, top map[string]interface{}) (
	map[string]string, error) {
	set := template.New("chart").Option("missingkey=zero")
	set.Funcs(functions(set))
	out := map[string]string{}
	for _, name := range names {
		if _, err := set.New(chart + "/" + name).Parse(string(all[name])); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		if strings.HasPrefix(path.Base(name), "_") {
			continue
		}
		var text strings.Builder
		top["Template"] = map[string]interface{}{"Name": chart + "/" + name,
			"BasePath": chart + "/templates"}
		if err := set.ExecuteTemplate(&text, chart+"/"+name, top); err != nil {
			return nil, err
		}
		out[name] = strings.ReplaceAll(text.String(), "<no value>", "")
	}
	return out, nil
}
