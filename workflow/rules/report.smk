# Tables, figures, verdicts and pages.
rule collect_results:
    # One tidy frame of everything that was measured.
    input:
        unpack(parents("tidy")),
    output:
        manifest=path("tidy/manifest.json"),
        results=path("tidy/results.parquet"),
        csv=path("tidy/results.csv"),
    log:
        path("logs/tidy.log"),
    benchmark:
        path("benchmarks/tidy.tsv")
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("tidy"),
        out=out("tidy"),
        key=key("tidy"),
        spec=spec(mirror.collect_results),
        reading=reading,
    shell:
        command("collect_results")


rule test_significance:
    # Paired tests of a table's rows, corrected over the table (Holm).
    input:
        unpack(parents("significance/{table}")),
    output:
        manifest=path("significance/{table}/manifest.json"),
        tests=path("significance/{table}/significance.json"),
    log:
        path("logs/significance/{table}.log"),
    benchmark:
        path("benchmarks/significance/{table}.tsv")
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("significance/{table}"),
        out=out("significance/{table}"),
        key=key("significance/{table}"),
        spec=spec(mirror.test_significance, "table"),
        reading=reading,
    shell:
        command("test_significance")


rule render_table:
    # A table as Markdown, CSV, LaTeX and HTML.
    input:
        unpack(parents("tables/{table}")),
    output:
        manifest=path("tables/{table}/manifest.json"),
        markdown=path("tables/{table}/table.md"),
        csv=path("tables/{table}/table.csv"),
        latex=path("tables/{table}/table.tex"),
        html=report(
            path("tables/{table}/table.html"),
            caption="../report/table.rst",
            category="Results",
            labels={"table": "{table}"},
        ),
    log:
        path("logs/tables/{table}.log"),
    benchmark:
        path("benchmarks/tables/{table}.tsv")
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("tables/{table}"),
        out=out("tables/{table}"),
        key=key("tables/{table}"),
        spec=spec(specs.render_table, "table"),
        caption=lambda wildcards: study.tables[wildcards.table].caption,
    shell:
        command("render_table")


rule plot_figure:
    # A figure as SVG and PNG.
    input:
        unpack(parents("figures/{figure}")),
    output:
        manifest=path("figures/{figure}/manifest.json"),
        png=path("figures/{figure}/figure.png"),
        svg=report(
            path("figures/{figure}/figure.svg"),
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        path("logs/figures/{figure}.log"),
    benchmark:
        path("benchmarks/figures/{figure}.tsv")
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("figures/{figure}"),
        out=out("figures/{figure}"),
        key=key("figures/{figure}"),
        spec=spec(specs.plot_figure, "figure"),
        caption=lambda wildcards: study.figures[wildcards.figure].caption,
        kind=lambda wildcards: study.figures[wildcards.figure].kind,
    shell:
        command("plot_figure")


rule explain_queries:
    # How trained retrievers read a few test queries.
    input:
        unpack(parents("explain/{explanation}")),
    output:
        manifest=path("explain/{explanation}/manifest.json"),
        html=report(
            path("explain/{explanation}/explain.html"),
            caption="../report/explain.rst",
            category="Queries",
            labels={"page": "{explanation}"},
        ),
    log:
        path("logs/explain/{explanation}.log"),
    benchmark:
        path("benchmarks/explain/{explanation}.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("explain/{explanation}"),
        out=out("explain/{explanation}"),
        key=key("explain/{explanation}"),
        spec=spec(specs.explain_queries, "explanation"),
    shell:
        command("explain_queries")


rule check_expected:
    # Verdicts on values that must be reached.
    input:
        unpack(parents("expected")),
    output:
        manifest=path("expected/manifest.json"),
        verdicts=path("expected/verdicts.json"),
    log:
        path("logs/expected.log"),
    benchmark:
        path("benchmarks/expected.tsv")
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("expected"),
        out=out("expected"),
        key=key("expected"),
        spec=spec(specs.check_expected),
    shell:
        command("check_expected")


rule collection_page:
    # All that was measured on a collection.
    input:
        unpack(parents("collection_pages/{collection}")),
    output:
        manifest=path("collection_pages/{collection}/manifest.json"),
        html=report(
            path("collection_pages/{collection}/collection.html"),
            caption="../report/collection.rst",
            category="Collections",
            labels={"collection": "{collection}"},
        ),
    log:
        path("logs/collection_pages/{collection}.log"),
    benchmark:
        path("benchmarks/collection_pages/{collection}.tsv")
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("collection_pages/{collection}"),
        out=out("collection_pages/{collection}"),
        key=key("collection_pages/{collection}"),
        spec=spec(pages.collection_page, "collection"),
    shell:
        command("collection_page")


rule sweep_page:
    # Parallel coordinates of a sweep.
    input:
        unpack(parents("sweeps/{sweep}")),
    output:
        manifest=path("sweeps/{sweep}/manifest.json"),
        html=report(
            path("sweeps/{sweep}/parallel.html"),
            caption="../report/sweep.rst",
            category="Sweeps",
            labels={"sweep": "{sweep}"},
        ),
    log:
        path("logs/sweeps/{sweep}.log"),
    benchmark:
        path("benchmarks/sweeps/{sweep}.tsv")
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("sweeps/{sweep}"),
        out=out("sweeps/{sweep}"),
        key=key("sweeps/{sweep}"),
        spec=spec(pages.sweep_page, "sweep"),
    shell:
        command("sweep_page")


rule report_pages:
    # Front page, cost and provenance of everything.
    input:
        unpack(parents("pages")),
    output:
        manifest=path("pages/manifest.json"),
        front=path("pages/front.rst"),
        costs=report(
            path("pages/costs.html"),
            caption="../report/costs.rst",
            category="Cost and provenance",
            labels={"page": "cost"},
        ),
        provenance=report(
            path("pages/provenance.html"),
            caption="../report/provenance.rst",
            category="Cost and provenance",
            labels={"page": "provenance"},
        ),
    log:
        path("logs/pages.log"),
    benchmark:
        path("benchmarks/pages.tsv")
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        inputs=inputs("pages"),
        out=out("pages"),
        key=key("pages"),
        spec=spec(pages.report_pages),
    shell:
        command("report_pages")
